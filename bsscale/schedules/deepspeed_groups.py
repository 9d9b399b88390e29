"""Lists in the parameters of a DeepSpeed scheduler: one number for each parameter group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bsscale.errors import ConfigError

__all__ = ["as_lists", "without_lists"]

# The parameters of which DeepSpeed 0.19.8 takes a list (deepspeed/runtime/lr_schedules.py): rates,
# and the momenta of OneCycle.
_RATES = {
    "OneCycle": ("cycle_min_lr", "cycle_max_lr"),
    "LRRangeTest": ("lr_range_test_min_lr",),
    "WarmupLR": ("warmup_min_lr", "warmup_max_lr"),
    "WarmupDecayLR": ("warmup_min_lr", "warmup_max_lr"),
    "WarmupCosineLR": (),
}
_MOMENTA = {"OneCycle": ("cycle_min_mom", "cycle_max_mom")}
# The default of a rate; for the other rates, any number has the same effect.
_LEFT_OUT = {"warmup_min_lr": 0.0}


def as_lists(name: str, params: Mapping[str, Any], ratios: Sequence[float]) -> dict[str, Any]:
    """The rates of a scheduler as lists, with one number for each parameter group.

    Parameters
    ----------
    name, params
        Type of the scheduler, and its parameters with one number each.
    ratios
        Each group's learning rate relative to these numbers.

    Raises
    ------
    ConfigError
        If the scheduler has no rates of its own, or if a ratio is not a finite number above 0.
    """
    if not _RATES[name]:
        raise ConfigError(
            f"{name} has no rate to make a list of: it scales the rates of the optimizer's "
            "parameter groups",
            "leave ratios out, and give each parameter group its own lr",
        )
    for ratio in ratios:
        if not 0 < ratio < math.inf:
            raise ConfigError(f"a group is scaled by {ratio}", "give finite numbers above 0")
    return {key: [params[key] * ratio for ratio in ratios] for key in _RATES[name]}


def without_lists(name: str, params: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[float, ...]]:
    """The parameters of the first parameter group, and each group's rate relative to that one's.

    Parameters
    ----------
    name, params
        Type of the scheduler, and its parameters, some of them lists.

    Raises
    ------
    ConfigError
        If there is a list of another parameter, if lists differ in length, or if they are not
        proportional.
    """
    lists = {key: value for key, value in params.items() if isinstance(value, list | tuple)}
    if not lists:
        return dict(params), (1.0,)
    rates, momenta = _RATES[name], _MOMENTA.get(name, ())
    for key, value in lists.items():
        if key not in (*rates, *momenta) or not value or not all(map(_is_number, value)):
            taken = ", ".join((*rates, *momenta)) or "none of its parameters"
            raise ConfigError(
                f"{key} is {value!r}",
                f"give a number: {name} takes lists, of numbers, for {taken}",
            )
    lengths = {key: len(value) for key, value in lists.items()}
    if len(set(lengths.values())) > 1:
        listing = ", ".join(f"{length} numbers in {key}" for key, length in lengths.items())
        raise ConfigError(
            f"the lists of {name} are not of one length: {listing}",
            "give one number for each parameter group",
        )
    for key in momenta:
        if len(set(lists.get(key, [0]))) > 1:
            raise ConfigError(
                f"{key}={lists[key]} gives the parameter groups different momenta",
                "give one number: a schedule has one momentum for all groups",
            )
    groups = next(iter(lengths.values()))
    of_groups = [lists.get(key, [_common_rate(key, params)] * groups) for key in rates]
    ratios = _ratios(of_groups)
    if ratios is None:
        listing = " and ".join(f"{key}={value}" for key, value in lists.items())
        raise ConfigError(
            f"the lists of {name} are not proportional ({listing}), so its parameter groups have "
            "no common schedule",
            "give every rate as a list in which each group has the same ratio to the first one",
        )
    first = {key: value[0] for key, value in lists.items()}
    return {**params, **first}, ratios


def _ratios(of_groups: Sequence[Sequence[float]]) -> tuple[float, ...] | None:
    """The ratio of each group's numbers to those of the first group; None if there is none."""
    groups = len(of_groups[0])
    basis = next((numbers for numbers in of_groups if numbers[0] != 0), [1.0] * groups)
    ratios = tuple(number / basis[0] for number in basis)
    proportional = all(
        math.isclose(number, ratio * numbers[0], rel_tol=1e-9)
        for numbers in of_groups
        for number, ratio in zip(numbers, ratios, strict=True)
    )
    return ratios if proportional else None


def _common_rate(key: str, params: Mapping[str, Any]) -> float:
    """A rate that is one number, which all groups share."""
    value = params.get(key, _LEFT_OUT.get(key))
    return value if _is_number(value) else 1.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
