"""The typed configuration, put together from the options of the parts."""

from bsscale.config.run import Config, ExecutorConfig, TaskConfig, TrackerConfig

__all__ = ["Config", "ExecutorConfig", "TaskConfig", "TrackerConfig"]
