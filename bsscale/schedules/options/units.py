"""From the user's units to a schedule's: a peak by a scaling rule, a length by one of its names."""

from __future__ import annotations

from collections.abc import Callable

from bsscale.errors import ConfigError
from bsscale.schedules import scaling
from bsscale.schedules.options.base import ScheduleContext

__all__ = ["given_length", "length", "peak", "scaled_peak", "scales_twice", "warmup_length"]

_RULES: dict[str, Callable[[float, float], float]] = {
    "none": scaling.unscaled,
    "linear": scaling.linear,
    "sqrt": scaling.sqrt,
}


def peak(
    context: ScheduleContext, rule: str | None, factor: float | None, *, default: float
) -> float:
    """The peak by the schedule's own rule or, where it names none, by the run's scaling rule.

    Parameters
    ----------
    context
        The numbers of the run.
    rule, factor
        ``schedule.scaling`` and ``schedule.factor``; None where they are not given.
    default
        What base_lr is multiplied with where neither has a rule.

    Raises
    ------
    ConfigError
        If both have a rule, or as `scaled_peak`.
    """
    if rule is None:
        if factor is not None:
            raise ConfigError(
                f"schedule.factor={factor} does nothing without schedule.scaling=factor",
                "give both, or leave the factor out",
            )
        moved = default if context.lr_factor is None else context.lr_factor
        return scaling.linear(context.base_lr, moved)
    if context.lr_factor is not None:
        raise scales_twice(f"schedule.scaling={rule}")
    return scaled_peak(context, rule, factor)


def scales_twice(what: str) -> ConfigError:
    """The error if the schedule and a scaling rule both change the rate."""
    return ConfigError(
        f"{what} and the scaling rule would both scale base_lr",
        "give one of them: scaling=none, or a schedule without a rule of its own (schedule=fixed, "
        "or schedule.scaling=null)",
    )


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


def warmup_length(config: object, context: ScheduleContext, *, default: float) -> int:
    """The length of a warm-up, in steps; a scaling rule may have moved it."""
    factor = context.warmup_factor
    if factor is None:
        return length(config, context, "warmup", default=default)
    steps = getattr(config, "warmup_steps", None)
    if steps is not None:
        raise ConfigError(
            f"schedule.warmup_steps={steps} counts updates of this batch, and scaling.warmup moves "
            "the length at 1 GPU",
            "give schedule.warmup_samples or warmup_fraction, or scaling.warmup=none",
        )
    return length(config, context, "warmup", default=default, factor=factor)


def length(
    config: object, context: ScheduleContext, key: str, *, default: float, factor: float = 1.0
) -> int:
    """A length in steps; where none is given, `default` passes over the training split."""
    steps = given_length(config, context, key, factor)
    passes = default * factor
    return context.steps_of_passes(passes) if steps is None else steps


def given_length(
    config: object, context: ScheduleContext, key: str, factor: float = 1.0
) -> int | None:
    """A length in steps from whichever of its three names is given; None if none is.

    The names are `key` with ``_steps`` (``_step_size``, where DeepSpeed calls it so), ``_samples``,
    and ``_fraction`` of one pass over the training split. The last two are multiplied by `factor`.

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
        raise ConfigError(f"{listing} are both given for the same length", "give one of them")
    for name, value in given.items():
        if not 0 <= value < float("inf"):
            raise ConfigError(f"schedule.{name}={value} is not a length", "give 0 or more")
        if name.endswith("_samples"):
            return context.steps(factor * value)
        if name.endswith("_fraction"):
            return context.steps_of_passes(factor * value)
        return int(value)
    return None
