"""Shapes with a peak that a scaling rule gives, and the range test."""

from __future__ import annotations

from dataclasses import dataclass

from bsscale.errors import ConfigError
from bsscale.schedules import (
    WSD,
    Cosine,
    ExponentialRangeTest,
    LateDrop,
    LinearWarmup,
    RangeTest,
    Schedule,
)
from bsscale.schedules.options.base import ScheduleConfig, ScheduleContext
from bsscale.schedules.options.units import length, peak, warmup_length

__all__ = ["CosineConfig", "LateDropConfig", "LinearWarmupConfig", "RangeTestConfig", "WSDConfig"]

THIRD = 1 / 3
# The place of a late drop in its source: see `bsscale.schedules.LateDrop`.
DROP_PASSES = 0.8


@dataclass
class ScaledPeakConfig(ScheduleConfig):
    """Options of every shape whose peak a rule gives: its own, the run's, or the linear one."""

    scaling: str | None = None
    factor: float | None = None

    @property
    def scaling_rule(self) -> str:
        return self.scaling or "linear"

    def peak_lr(self, context: ScheduleContext) -> float:
        """The peak that the rule gives."""
        return peak(context, self.scaling, self.factor, default=context.gpus)


@dataclass
class LinearWarmupConfig(ScaledPeakConfig):
    """Gradual warmup to the peak, then constant (Goyal et al. 2017)."""

    name: str = "linear_warmup"
    start_lr: float | None = None
    warmup_steps: int | None = None
    warmup_samples: int | None = None
    warmup_fraction: float | None = None

    def build(self, context: ScheduleContext) -> Schedule:
        return LinearWarmup(
            peak_lr=self.peak_lr(context),
            warmup_steps=warmup_length(self, context, default=THIRD),
            start_lr=context.base_lr if self.start_lr is None else self.start_lr,
        )


@dataclass
class CosineConfig(ScaledPeakConfig):
    """Half a cosine from the peak to a final rate, then constant."""

    name: str = "cosine"
    final_lr: float | None = None
    decay_steps: int | None = None
    decay_samples: int | None = None
    decay_fraction: float | None = None

    def build(self, context: ScheduleContext) -> Schedule:
        return Cosine(
            peak_lr=self.peak_lr(context),
            decay_steps=length(self, context, "decay", default=1.0),
            final_lr=context.base_lr / 10 if self.final_lr is None else self.final_lr,
        )


@dataclass
class WSDConfig(ScaledPeakConfig):
    """Warmup, stable, decay, then constant."""

    name: str = "wsd"
    start_lr: float | None = None
    final_lr: float | None = None
    warmup_steps: int | None = None
    warmup_samples: int | None = None
    warmup_fraction: float | None = None
    stable_steps: int | None = None
    stable_samples: int | None = None
    stable_fraction: float | None = None
    decay_steps: int | None = None
    decay_samples: int | None = None
    decay_fraction: float | None = None

    def build(self, context: ScheduleContext) -> Schedule:
        return WSD(
            peak_lr=self.peak_lr(context),
            warmup_steps=warmup_length(self, context, default=THIRD),
            stable_steps=length(self, context, "stable", default=THIRD),
            decay_steps=length(self, context, "decay", default=THIRD),
            start_lr=context.base_lr if self.start_lr is None else self.start_lr,
            final_lr=context.base_lr / 10 if self.final_lr is None else self.final_lr,
        )


@dataclass
class LateDropConfig(ScaledPeakConfig):
    """A constant rate that is divided once, late in the pass."""

    name: str = "late_drop"
    divisor: float = 75.0
    drop_steps: int | None = None
    drop_samples: int | None = None
    drop_fraction: float | None = None

    def build(self, context: ScheduleContext) -> Schedule:
        return LateDrop(
            peak_lr=self.peak_lr(context),
            drop_step=length(self, context, "drop", default=DROP_PASSES),
            divisor=self.divisor,
        )


@dataclass
class RangeTestConfig(ScheduleConfig):
    """A growing rate, with the parameter names of DeepSpeed's LRRangeTest."""

    name: str = "range_test"
    mode: str = "linear"
    lr_range_test_min_lr: float | None = None
    lr_range_test_max_lr: float | None = None
    lr_range_test_step_size: int | None = None
    lr_range_test_samples: int | None = None
    lr_range_test_fraction: float | None = None
    lr_range_test_step_rate: float | None = None
    lr_range_test_staircase: bool | None = None

    def build(self, context: ScheduleContext) -> Schedule:
        low = context.base_lr / 10
        if self.lr_range_test_min_lr is not None:
            low = self.lr_range_test_min_lr
        if self.mode == "exponential":
            self._refuse("lr_range_test_step_rate", "lr_range_test_staircase")
            high = 10 * context.gpus * context.base_lr
            if self.lr_range_test_max_lr is not None:
                high = self.lr_range_test_max_lr
            steps = length(self, context, "lr_range_test", default=1.0)
            return ExponentialRangeTest(low, high, steps)
        if self.mode != "linear":
            raise ConfigError(
                f"schedule.mode={self.mode} is not one of its values", "give linear or exponential"
            )
        self._refuse("lr_range_test_max_lr")
        rate = self.lr_range_test_step_rate
        return RangeTest(
            lr_range_test_min_lr=low,
            lr_range_test_step_size=length(self, context, "lr_range_test", default=0.01),
            lr_range_test_step_rate=5.0 if rate is None else rate,
            lr_range_test_staircase=self.lr_range_test_staircase or False,
        )

    def _refuse(self, *options: str) -> None:
        other = "linear" if self.mode == "exponential" else "exponential"
        for option in options:
            if getattr(self, option) is not None:
                raise ConfigError(
                    f"schedule.{option}={getattr(self, option)} does nothing with "
                    f"schedule.mode={self.mode}",
                    f"leave it out, or give schedule.mode={other}",
                )
