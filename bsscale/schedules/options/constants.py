"""Constant rates: base_lr after a scaling rule."""

from __future__ import annotations

from dataclasses import dataclass

from bsscale.errors import ConfigError
from bsscale.schedules import Constant, Schedule
from bsscale.schedules.options.base import ScheduleConfig, ScheduleContext, scaled_peak

__all__ = ["FixedConfig", "LinearScalingConfig", "ScaledConfig", "SqrtScalingConfig"]


@dataclass
class FixedConfig(ScheduleConfig):
    """base_lr, whatever the batch."""

    name: str = "fixed"

    @property
    def scaling_rule(self) -> str:
        return "none"

    def build(self, context: ScheduleContext) -> Schedule:
        return Constant(scaled_peak(context, self.scaling_rule, None))


@dataclass
class LinearScalingConfig(ScheduleConfig):
    """gpus x base_lr, constant."""

    name: str = "linear_scaling"

    @property
    def scaling_rule(self) -> str:
        return "linear"

    def build(self, context: ScheduleContext) -> Schedule:
        return Constant(scaled_peak(context, self.scaling_rule, None))


@dataclass
class SqrtScalingConfig(ScheduleConfig):
    """The square root of gpus x base_lr, constant."""

    name: str = "sqrt_scaling"

    @property
    def scaling_rule(self) -> str:
        return "sqrt"

    def build(self, context: ScheduleContext) -> Schedule:
        return Constant(scaled_peak(context, self.scaling_rule, None))


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

    @property
    def scaling_rule(self) -> str:
        return "factor"

    def build(self, context: ScheduleContext) -> Schedule:
        if self.factor is None:
            raise ConfigError("schedule=scaled without a factor", "give schedule.factor=4, say")
        return Constant(scaled_peak(context, "factor", self.factor))
