"""What every schedule's configuration has: the numbers of a run, lengths, and a peak by a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from omegaconf import MISSING

from bsscale.errors import ConfigError
from bsscale.schedules import Schedule, scaling

__all__ = [
    "ScaledPeakConfig",
    "ScheduleConfig",
    "ScheduleContext",
    "given_length",
    "length",
    "scaled_peak",
]

_RULES: dict[str, Callable[[float, float], float]] = {
    "none": scaling.unscaled,
    "linear": scaling.linear,
    "sqrt": scaling.sqrt,
}


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

    @property
    def scaling_rule(self) -> str | None:
        """How its rates move with the batch; None where no rule gives them."""
        rule: str | None = getattr(self, "scaling", None)
        return rule

    def build(self, context: ScheduleContext) -> Schedule:
        """The schedule of a run, in steps and rates."""
        raise ConfigError(
            f"schedule {self.name!r} has no shape", "choose one of the schedules in --help"
        )

    def resolved(self) -> ScheduleConfig:
        """The same with the content of every file that it names in place of the name.

        A record with a path says nothing once the file has changed.
        """
        return self


@dataclass
class ScaledPeakConfig(ScheduleConfig):
    """Options of every shape whose peak a scaling rule gives.

    Attributes
    ----------
    scaling
        How the peak follows from base_lr: none (base_lr), linear (gpus x base_lr), sqrt (the
        square root of gpus x base_lr), or factor (factor x base_lr).
    factor
        The factor of scaling=factor.
    """

    scaling: str = "linear"
    factor: float | None = None

    def peak_lr(self, context: ScheduleContext) -> float:
        """The peak that the rule gives."""
        return scaled_peak(context, self.scaling, self.factor)


def scaled_peak(context: ScheduleContext, rule: str, factor: float | None) -> float:
    """base_lr after a scaling rule.

    Raises
    ------
    ConfigError
        If the rule is unknown, or if there is a factor where the rule has none, or the reverse.
    """
    if rule == "factor":
        if factor is None:
            raise ConfigError(
                "schedule.scaling=factor without a factor",
                "give schedule.factor=4, for a peak of 4 x base_lr",
            )
        if not 0 < factor < float("inf"):
            raise ConfigError(
                f"schedule.factor={factor} is not a finite number above 0",
                "give schedule.factor=4, for a peak of 4 x base_lr",
            )
        return scaling.linear(context.base_lr, factor)
    if rule not in _RULES:
        raise ConfigError(
            f"schedule.scaling={rule} is not a rule", f"give {', '.join(_RULES)} or factor"
        )
    if factor is not None:
        raise ConfigError(
            f"schedule.factor={factor} does nothing with schedule.scaling={rule}",
            "give schedule.scaling=factor, or leave the factor out",
        )
    return _RULES[rule](context.base_lr, context.gpus)


def length(config: object, context: ScheduleContext, key: str, *, default: float) -> int:
    """A length in steps; where none is given, `default` passes over the training split."""
    steps = given_length(config, context, key)
    return context.steps(default * context.samples_per_pass) if steps is None else steps


def given_length(config: object, context: ScheduleContext, key: str) -> int | None:
    """A length in steps from whichever of its three names is given; None if none is.

    The names are `key` with ``_steps`` (``_step_size``, where DeepSpeed calls it so), ``_samples``,
    and ``_fraction`` of one pass over the training split.

    Raises
    ------
    ConfigError
        If more than one is given, or if it is not a length.
    """
    names = [f"{key}_{unit}" for unit in ("steps", "step_size", "samples", "fraction")]
    values = {name: getattr(config, name, None) for name in names}
    given = {name: value for name, value in values.items() if value is not None}
    if len(given) > 1:
        listing = " and ".join(f"schedule.{name}={value}" for name, value in given.items())
        raise ConfigError(f"{listing} name one length", "give one of them")
    for name, value in given.items():
        if not 0 <= value < float("inf"):
            raise ConfigError(f"schedule.{name}={value} is not a length", "give 0 or more")
        if name.endswith("_samples"):
            return context.steps(value)
        if name.endswith("_fraction"):
            return context.steps(value * context.samples_per_pass)
        return int(value)
    return None
