"""What can be written under ``schedule.``, and the schedule that comes of it.

A schedule (bsscale/schedules.py) counts in updates and knows no batch. Its configuration speaks
the user's units: lengths in steps, samples or passes, and rates relative to base_lr and gpus.
"""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from bsscale import scaling
from bsscale.errors import ConfigError
from bsscale.schedules import Constant, OneCycle, Schedule

__all__ = [
    "FixedConfig",
    "LinearScalingConfig",
    "OneCycleConfig",
    "ScheduleConfig",
    "ScheduleContext",
]


@dataclass(frozen=True)
class ScheduleContext:
    """The numbers of a run that a schedule may depend on. Never the budget.

    Attributes
    ----------
    base_lr
        The best fixed learning rate at one GPU.
    gpus
        Number of replicas.
    global_batch
        Samples of one update.
    samples_per_pass
        Samples of one pass over the training split.
    momentum
        The optimizer's configured momentum or beta1; None if it has none.
    """

    base_lr: float
    gpus: int
    global_batch: int
    samples_per_pass: int
    momentum: float | None

    def steps(self, samples: float) -> int:
        """The whole number of updates nearest to `samples`, at least one if there are any."""
        return max(1, round(samples / self.global_batch)) if samples > 0 else 0


@dataclass
class ScheduleConfig:
    """Options that every schedule has."""

    name: str = MISSING

    def build(self, context: ScheduleContext) -> Schedule:
        """The schedule of a run, in steps and rates."""
        raise ConfigError(
            f"schedule {self.name!r} has no shape", "choose one of the schedules in --help"
        )


@dataclass
class FixedConfig(ScheduleConfig):
    """base_lr, whatever the batch."""

    name: str = "fixed"

    def build(self, context: ScheduleContext) -> Schedule:
        return Constant(context.base_lr)


@dataclass
class LinearScalingConfig(ScheduleConfig):
    """gpus x base_lr, constant."""

    name: str = "linear_scaling"

    def build(self, context: ScheduleContext) -> Schedule:
        return Constant(scaling.linear(context.base_lr, context.gpus))


@dataclass
class OneCycleConfig(ScheduleConfig):
    """1-Cycle, with the parameter names of the DeepSpeed configuration.

    Each length has three names, of which at most one may be given: ``…_step_size`` in updates,
    ``…_samples``, and ``…_fraction`` of one pass over the training split. By default the two
    halves of the cycle and the decay take a third of a pass each, the proportions of the
    tutorial's example (1000 + 1000 + 1000 steps); the second half follows the first.
    """

    name: str = "onecycle"
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
    cycle_momentum: bool | None = None
    cycle_min_mom: float = 0.8
    cycle_max_mom: float = 0.9
    decay_mom_rate: float = 0.0

    def build(self, context: ScheduleContext) -> Schedule:
        min_lr = context.base_lr if self.cycle_min_lr is None else self.cycle_min_lr
        peak = 1.25 * scaling.linear(context.base_lr, context.gpus)
        max_lr = peak if self.cycle_max_lr is None else self.cycle_max_lr
        third = context.steps(context.samples_per_pass / 3)
        first = _length(
            context,
            "schedule.cycle_first",
            step_size=self.cycle_first_step_size,
            samples=self.cycle_first_samples,
            fraction=self.cycle_first_fraction,
        )
        second = _length(
            context,
            "schedule.cycle_second",
            step_size=self.cycle_second_step_size,
            samples=self.cycle_second_samples,
            fraction=self.cycle_second_fraction,
        )
        decay = _length(
            context,
            "schedule.decay",
            step_size=self._decay_step_size(),
            samples=self.decay_samples,
            fraction=self.decay_fraction,
        )
        decay = third if decay is None else decay
        # The tutorial's example decays by 0.001 per decay_step_size.
        decays_by = 0.001 if decay > 0 else 0.0
        return OneCycle(
            cycle_min_lr=min_lr,
            cycle_max_lr=max_lr,
            cycle_first_step_size=third if first is None else first,
            cycle_second_step_size=second,
            cycle_first_stair_count=self.cycle_first_stair_count,
            cycle_second_stair_count=self.cycle_second_stair_count,
            decay_step_size=decay,
            decay_lr_rate=decays_by if self.decay_lr_rate is None else self.decay_lr_rate,
            cycle_momentum=self._cycles_momentum(context),
            cycle_min_mom=self.cycle_min_mom,
            cycle_max_mom=self.cycle_max_mom,
            decay_mom_rate=self.decay_mom_rate,
        )

    def _decay_step_size(self) -> int | None:
        if self.decay_step_size is not None and self.post_cycle_decay_step_size is not None:
            raise ConfigError(
                f"schedule.decay_step_size={self.decay_step_size} and "
                f"schedule.post_cycle_decay_step_size={self.post_cycle_decay_step_size} are two "
                "names of one length",
                "give one of them",
            )
        if self.decay_step_size is None:
            return self.post_cycle_decay_step_size
        return self.decay_step_size

    def _cycles_momentum(self, context: ScheduleContext) -> bool:
        if self.cycle_momentum is None:
            return context.momentum is not None
        if self.cycle_momentum and context.momentum is None:
            raise ConfigError(
                "schedule.cycle_momentum=true with an optimizer that has no momentum",
                "give schedule.cycle_momentum=false, or an optimizer with momentum "
                "(optimizer=sgd, adam or adamw)",
            )
        return self.cycle_momentum


def _length(
    context: ScheduleContext,
    key: str,
    *,
    step_size: int | None,
    samples: int | None,
    fraction: float | None,
) -> int | None:
    """A length in steps from whichever of its three names is given; None if none is."""
    named = {"step_size": step_size, "samples": samples, "fraction": fraction}
    given = {f"{key}_{unit}": value for unit, value in named.items() if value is not None}
    if len(given) > 1:
        listing = " and ".join(f"{name}={value}" for name, value in given.items())
        raise ConfigError(f"{listing} name one length", "give one of them")
    for name, value in given.items():
        if not 0 <= value < float("inf"):
            raise ConfigError(f"{name}={value} is not a length", "give 0 or more")
    if samples is not None:
        return context.steps(samples)
    if fraction is not None:
        return context.steps(fraction * context.samples_per_pass)
    return step_size
