"""The typed configuration, put together from the options of the parts."""

from bsscale.config.run import (
    Config,
    ExecutorOptions,
    TaskOptions,
    TrackerOptions,
    TrainerOptions,
)

__all__ = ["Config", "ExecutorOptions", "TaskOptions", "TrackerOptions", "TrainerOptions"]
