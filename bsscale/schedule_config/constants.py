"""Constant rates: base_lr after a scaling rule."""

from __future__ import annotations

from dataclasses import dataclass

from bsscale.errors import ConfigError
from bsscale.schedule_config.base import ScheduleConfig, ScheduleContext, scaled_peak
from bsscale.schedules import Constant, Schedule

__all__ = ["FixedConfig", "LinearScalingConfig", "ScaledConfig", "SqrtScalingConfig"]


@dataclass
class FixedConfig(ScheduleConfig):
    """base_lr, whatever the batch."""

    name: str = "fixed"

    def build(self, context: ScheduleContext) -> Schedule:
        return Constant(scaled_peak(context, "none", None))


@dataclass
class LinearScalingConfig(ScheduleConfig):
    """gpus x base_lr, constant."""

    name: str = "linear_scaling"

    def build(self, context: ScheduleContext) -> Schedule:
        return Constant(scaled_peak(context, "linear", None))


@dataclass
class SqrtScalingConfig(ScheduleConfig):
    """The square root of gpus x base_lr, constant."""

    name: str = "sqrt_scaling"

    def build(self, context: ScheduleContext) -> Schedule:
        return Constant(scaled_peak(context, "sqrt", None))


@dataclass
class ScaledConfig(ScheduleConfig):
    """factor x base_lr, constant: the control of every rule.

    Attributes
    ----------
    factor
        Whatever gpus is; there is no default.
    """

    name: str = "scaled"
    factor: float | None = None

    def build(self, context: ScheduleContext) -> Schedule:
        if self.factor is None:
            raise ConfigError("schedule=scaled without a factor", "give schedule.factor=4, say")
        return Constant(scaled_peak(context, "factor", self.factor))
