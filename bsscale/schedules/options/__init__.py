"""The options below ``schedule.``, and the schedules that they define.

A schedule (bsscale/schedules) counts in updates and knows no batch. Its configuration speaks the
user's units: lengths in steps, samples or passes, and rates relative to base_lr and gpus.
"""

from bsscale.schedules.options.base import ScheduleConfig, ScheduleContext
from bsscale.schedules.options.constants import (
    FixedConfig,
    LinearScalingConfig,
    ScaledConfig,
    SqrtScalingConfig,
)
from bsscale.schedules.options.custom import CustomScheduleConfig
from bsscale.schedules.options.deepspeed import DeepSpeedConfig
from bsscale.schedules.options.onecycle import OneCycleConfig, OneCycleTorchConfig
from bsscale.schedules.options.sequence import PARTS, SequenceConfig
from bsscale.schedules.options.shapes import (
    CosineConfig,
    LateDropConfig,
    LinearWarmupConfig,
    RangeTestConfig,
    WSDConfig,
)

__all__ = [
    "SCHEDULES",
    "CosineConfig",
    "CustomScheduleConfig",
    "DeepSpeedConfig",
    "FixedConfig",
    "LateDropConfig",
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
SCHEDULES: dict[str, type[ScheduleConfig]] = {
    **PARTS,
    "sequence": SequenceConfig,
    "custom": CustomScheduleConfig,
}
