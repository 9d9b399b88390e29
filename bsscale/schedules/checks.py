"""What the values of a schedule have in common: the checks of its settings."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Collection
from numbers import Real
from typing import Any

from bsscale.errors import ConfigError

__all__ = ["choice", "keys", "momentum", "not_above", "number", "peak", "rate", "whole"]


def number(name: str, value: object) -> float:
    """`value` as a plain float: a NumPy scalar would make every call slower, and its results too.

    Raises
    ------
    ConfigError
        If it is not a finite number.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}, which is not a number", f"give {name} as a number")
    if not math.isfinite(value):
        raise ConfigError(f"{name} is {float(value)}", f"give {name} as a finite number")
    return float(value)


def rate(name: str, value: object) -> float:
    """A learning rate that may be 0."""
    lr = number(name, value)
    if lr < 0:
        raise ConfigError(f"{name} is {lr:g}, below 0", "give a learning rate of 0 or more")
    return lr


def peak(name: str, value: object) -> float:
    """A learning rate that something is trained with."""
    lr = number(name, value)
    if lr <= 0:
        raise ConfigError(
            f"{name} is {lr:g}, and a peak of 0 or less trains nothing",
            "give a learning rate above 0",
        )
    return lr


def momentum(name: str, value: object) -> float:
    """A momentum in [0, 1)."""
    share = number(name, value)
    if not 0 <= share < 1:
        raise ConfigError(
            f"{name} is {share:g}, outside [0, 1)",
            "give a momentum from 0 to below 1 (at 1 no gradient is ever forgotten)",
        )
    return share


def whole(name: str, value: Any, least: int, remedy: str) -> int:
    """`value` as a plain int of at least `least`."""
    try:
        count = operator.index(value)
    except TypeError:
        count = None
    if count is None or isinstance(value, bool):
        raise ConfigError(
            f"{name} is {value!r}, which is not a whole number", f"give {name} as an integer"
        )
    if count < least:
        raise ConfigError(f"{name} is {count}, below {least}", remedy)
    return count


def not_above(low_name: str, low: float, high_name: str, high: float, remedy: str) -> None:
    """Check that the one is not above the other."""
    if low > high:
        raise ConfigError(
            f"{low_name} is {low:g}, above {high_name}, which is {high:g}",
            f"exchange them: {remedy}",
        )


def choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Check that `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}", f"give {' or '.join(map(repr, choices))}")


def keys(given: Collection[str], known: Collection[str], where: str) -> None:
    """Check that every key is a known one."""
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            guess = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(
                f"{key!r} is not known in {where}", f"{guess}known are {', '.join(known)}"
            )
