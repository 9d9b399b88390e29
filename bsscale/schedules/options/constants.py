"""Constant rates: base_lr after a scaling rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bsscale.errors import ConfigError
from bsscale.schedules import Constant, Schedule
from bsscale.schedules.options.base import ScheduleConfig, ScheduleContext
from bsscale.schedules.options.units import peak, scaled_peak, scales_twice

__all__ = ["FixedConfig", "LinearScalingConfig", "ScaledConfig", "SqrtScalingConfig"]


@dataclass
class _ConstantConfig(ScheduleConfig):
    """The common part of the four: a constant rate, by one rule."""

    rule: ClassVar[str]

    @property
    def scaling_rule(self) -> str:
        return self.rule

    def build(self, context: ScheduleContext) -> Schedule:
        if context.lr_factor is not None:
            raise scales_twice(f"schedule={self.name}")
        return Constant(scaled_peak(context, self.rule, None))


@dataclass
class FixedConfig(_ConstantConfig):
    """base_lr at every batch, unless a scaling rule changes it."""

    name: str = "fixed"
    rule: ClassVar[str] = "none"

    def build(self, context: ScheduleContext) -> Schedule:
        return Constant(peak(context, None, None, default=1.0))


@dataclass
class LinearScalingConfig(_ConstantConfig):
    """gpus x base_lr, constant."""

    name: str = "linear_scaling"
    rule: ClassVar[str] = "linear"


@dataclass
class SqrtScalingConfig(_ConstantConfig):
    """The square root of gpus x base_lr, constant."""

    name: str = "sqrt_scaling"
    rule: ClassVar[str] = "sqrt"


@dataclass
class ScaledConfig(_ConstantConfig):
    """factor x base_lr, constant: the control of every rule."""

    name: str = "scaled"
    rule: ClassVar[str] = "factor"
    factor: float | None = None

    def build(self, context: ScheduleContext) -> Schedule:
        if self.factor is None:
            raise ConfigError("schedule=scaled without a factor", "give schedule.factor=4, say")
        if context.lr_factor is not None:
            raise scales_twice(f"schedule.factor={self.factor}")
        return Constant(scaled_peak(context, self.rule, self.factor))
