"""What can be written under ``schedule.``, and the schedule that comes of it.

A schedule (bsscale/schedules) counts in updates and knows no batch. Its configuration speaks the
user's units: lengths in steps, samples or passes, and rates relative to base_lr and gpus.
"""

from bsscale.schedule_config.base import ScheduleConfig, ScheduleContext
from bsscale.schedule_config.constants import (
    FixedConfig,
    LinearScalingConfig,
    ScaledConfig,
    SqrtScalingConfig,
)
from bsscale.schedule_config.deepspeed import DeepSpeedConfig
from bsscale.schedule_config.onecycle import OneCycleConfig, OneCycleTorchConfig
from bsscale.schedule_config.sequence import PARTS, SequenceConfig
from bsscale.schedule_config.shapes import (
    CosineConfig,
    LinearWarmupConfig,
    RangeTestConfig,
    WSDConfig,
)

__all__ = [
    "SCHEDULES",
    "CosineConfig",
    "DeepSpeedConfig",
    "FixedConfig",
    "LinearScalingConfig",
    "LinearWarmupConfig",
    "OneCycleConfig",
    "OneCycleTorchConfig",
    "RangeTestConfig",
    "ScaledConfig",
    "ScheduleConfig",
    "ScheduleContext",
    "SequenceConfig",
    "SqrtScalingConfig",
    "WSDConfig",
]

# By the name of their file in conf/schedule.
SCHEDULES: dict[str, type[ScheduleConfig]] = {**PARTS, "sequence": SequenceConfig}
