"""1-Cycle, in DeepSpeed's parameters and in PyTorch's."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from bsscale.errors import ConfigError
from bsscale.schedules import OneCycle, OneCycleTorch, Schedule, checks
from bsscale.schedules.options.base import (
    Reader,
    ScheduleConfig,
    ScheduleContext,
    unread_file_error,
)
from bsscale.schedules.options.units import given_length, length, peak

__all__ = ["FALL_PASSES", "MIN_OF_PEAK", "RISE_PASSES", "OneCycleConfig", "OneCycleTorchConfig"]

# The shape of a cycle of which only the peak is looked for, by a range test or by a search: the
# share of the peak at its ends, and its halves in passes over the training split.
# docs/choosing_the_cycle.md lists what else was tried, and what each gave on fresh seeds.
MIN_OF_PEAK = 1 / 10
RISE_PASSES = 0.3
FALL_PASSES = 0.7

# Options that are alternative names of one number: a user who gives one of them has set the others
# too.
_ALTERNATIVES = (
    {"cycle_max_lr", "scaling", "factor"},
    {"cycle_first_step_size", "cycle_first_samples", "cycle_first_fraction"},
    {"cycle_second_step_size", "cycle_second_samples", "cycle_second_fraction"},
    {"decay_step_size", "post_cycle_decay_step_size", "decay_samples", "decay_fraction"},
)


@dataclass
class _CycleConfig(ScheduleConfig):
    """Options that the two have in common."""

    scaling: str | None = None
    factor: float | None = None
    cycle_momentum: bool | None = None

    def _peak(
        self, context: ScheduleContext, option: str, given: float | None, default: float
    ) -> float:
        """The peak as given, or by a rule.

        Without one of its own it is `default` times what a scaling rule gives, or gpus x base_lr.
        """
        if given is not None and (self.scaling is not None or self.factor is not None):
            other = "scaling" if self.scaling is not None else "factor"
            raise ConfigError(
                f"schedule.{option}={given} and schedule.{other}={getattr(self, other)} both "
                "give the peak",
                "give one of them",
            )
        if given is not None:
            return given
        by_rule = peak(context, self.scaling, self.factor, default=context.gpus)
        return by_rule if self.scaling is not None else default * by_rule

    def _refuse_own_peak(self, *options: str) -> None:
        """Raise ConfigError where one of these fixes what a search looks for."""
        for option in options:
            if getattr(self, option) is not None:
                raise ConfigError(
                    f"schedule.{option}={getattr(self, option)}, and a search looks for the peak",
                    "leave it out, or give the arm rate: base_lr",
                )

    def _momentum(self, context: ScheduleContext, *options: str) -> bool:
        """Whether momentum is cycled; its options must keep their defaults where it is not."""
        cycles = context.momentum is not None
        if self.cycle_momentum is not None:
            cycles = self.cycle_momentum
        for option in options:
            value = getattr(self, option)
            if value != getattr(type(self), option) and not cycles:
                why = "with schedule.cycle_momentum=false"
                if self.cycle_momentum is None:
                    why = "with an optimizer that has no momentum"
                raise ConfigError(f"schedule.{option}={value} does nothing {why}", "leave it out")
        return cycles


@dataclass
class OneCycleConfig(_CycleConfig):
    """1-Cycle, with the parameter names of the DeepSpeed configuration.

    The default lengths have the proportions of DeepSpeed's tutorial, 1000 + 1000 + 1000 steps.
    """

    name: str = "onecycle"
    preset: str | None = None
    cycle_min_lr: float | None = None
    cycle_max_lr: float | None = None
    cycle_first_step_size: int | None = None
    cycle_first_samples: int | None = None
    cycle_first_fraction: float | None = None
    cycle_second_step_size: int | None = None
    cycle_second_samples: int | None = None
    cycle_second_fraction: float | None = None
    cycle_first_stair_count: int = 0
    cycle_second_stair_count: int | None = None
    decay_step_size: int | None = None
    post_cycle_decay_step_size: int | None = None
    decay_samples: int | None = None
    decay_fraction: float | None = None
    decay_lr_rate: float | None = None
    cycle_min_mom: float = 0.8
    cycle_max_mom: float = 0.9
    decay_mom_rate: float = 0.0

    def resolved(self, reader: Reader) -> OneCycleConfig:
        if self.preset is None:
            return self
        values = reader.read_yaml("schedule.preset", self.preset)
        options = [field.name for field in fields(self) if field.default is None]
        options.remove("preset")
        checks.keys(values, options, f"the preset {self.preset}")
        if empty := [key for key, value in values.items() if value is None]:
            raise ConfigError(
                f"the preset {self.preset} gives {empty[0]} no value", "give one, or leave it out"
            )
        preset = reader.typed(OneCycleConfig, values, f"the preset {self.preset}")
        settled = {option for option in options if getattr(self, option) is not None}
        for names in _ALTERNATIVES:
            if names & settled:
                settled |= names
        filled = {key: getattr(preset, key) for key in values if key not in settled}
        return replace(self, preset=None, **filled)

    def at_peak(self, peak: float) -> OneCycleConfig:
        self._refuse_own_peak("cycle_max_lr", "scaling", "factor", "cycle_min_lr")
        lengths: dict[str, Any] = {}
        for half, passes in (("first", RISE_PASSES), ("second", FALL_PASSES)):
            names = (f"cycle_{half}_{unit}" for unit in ("step_size", "samples", "fraction"))
            if all(getattr(self, name) is None for name in names):
                lengths[f"cycle_{half}_fraction"] = passes
        low = float(f"{peak * MIN_OF_PEAK:.3g}")
        return replace(self, cycle_max_lr=peak, cycle_min_lr=low, **lengths)

    def at_momentum(self, momentum: float) -> OneCycleConfig | None:
        if self.cycle_momentum is False:
            return None
        width = self.cycle_max_mom - self.cycle_min_mom
        return replace(self, cycle_max_mom=momentum, cycle_min_mom=_lower(momentum, width))

    def build(self, context: ScheduleContext) -> Schedule:
        if self.preset is not None:
            raise unread_file_error("preset", self.preset)
        first = length(self, context, "cycle_first", default=1 / 3)
        decay = self._decay_step_size(context)
        # The tutorial's example decays by 0.001 per decay_step_size.
        decays_by = 0.001 if decay > 0 else 0.0
        return OneCycle(
            cycle_min_lr=context.base_lr if self.cycle_min_lr is None else self.cycle_min_lr,
            cycle_max_lr=self._peak(context, "cycle_max_lr", self.cycle_max_lr, default=1.25),
            cycle_first_step_size=first,
            cycle_second_step_size=given_length(self, context, "cycle_second"),
            cycle_first_stair_count=self.cycle_first_stair_count,
            cycle_second_stair_count=self.cycle_second_stair_count,
            decay_step_size=decay,
            decay_lr_rate=decays_by if self.decay_lr_rate is None else self.decay_lr_rate,
            cycle_momentum=self._momentum(
                context, "cycle_min_mom", "cycle_max_mom", "decay_mom_rate"
            ),
            cycle_min_mom=self.cycle_min_mom,
            cycle_max_mom=self.cycle_max_mom,
            decay_mom_rate=self.decay_mom_rate,
        )

    def _decay_step_size(self, context: ScheduleContext) -> int:
        if self.post_cycle_decay_step_size is None:
            return length(self, context, "decay", default=1 / 3)
        if self.decay_step_size is not None:
            raise ConfigError(
                f"schedule.decay_step_size={self.decay_step_size} and "
                f"schedule.post_cycle_decay_step_size={self.post_cycle_decay_step_size} are two "
                "names of one length",
                "give one of them",
            )
        renamed = replace(
            self, decay_step_size=self.post_cycle_decay_step_size, post_cycle_decay_step_size=None
        )
        return renamed._decay_step_size(context)


def _lower(momentum: float, width: float) -> float:
    """The lowest momentum of a cycle of this width, without the rounding of a difference."""
    return round(momentum - width, 12)


@dataclass
class OneCycleTorchConfig(_CycleConfig):
    """1-Cycle, with the parameter names of torch.optim.lr_scheduler.OneCycleLR."""

    name: str = "onecycle_torch"
    max_lr: float | None = None
    total_steps: int | None = None
    total_samples: int | None = None
    total_fraction: float | None = None
    pct_start: float = 0.3
    anneal_strategy: str = "cos"
    base_momentum: float = 0.85
    max_momentum: float = 0.95
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False

    def at_peak(self, peak: float) -> OneCycleTorchConfig:
        self._refuse_own_peak("max_lr", "scaling", "factor")
        return replace(self, max_lr=peak)

    def at_momentum(self, momentum: float) -> OneCycleTorchConfig | None:
        if self.cycle_momentum is False:
            return None
        width = self.max_momentum - self.base_momentum
        return replace(self, max_momentum=momentum, base_momentum=_lower(momentum, width))

    def build(self, context: ScheduleContext) -> Schedule:
        return OneCycleTorch(
            max_lr=self._peak(context, "max_lr", self.max_lr, default=1.0),
            total_steps=length(self, context, "total", default=1.0),
            pct_start=self.pct_start,
            anneal_strategy=self.anneal_strategy,
            cycle_momentum=self._momentum(context, "base_momentum", "max_momentum"),
            base_momentum=self.base_momentum,
            max_momentum=self.max_momentum,
            div_factor=self.div_factor,
            final_div_factor=self.final_div_factor,
            three_phase=self.three_phase,
        )
