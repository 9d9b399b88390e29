"""Rules for the values of a schedule's fields, declared with the fields.

A field names its rules in its annotation; `check_fields` applies them when a schedule is made::

    peak_lr: PeakRate
    steps: Annotated[int, Whole(1, "give the line at least 1 step")]
    final_lr: Annotated[LearningRate, NotAbove("peak_lr", "the rate decays to it")] = 0.0

The rules are read from the annotation itself, not from its text, so a module that declares rules
leaves out ``from __future__ import annotations``.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from numbers import Real
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from bsscale.errors import ConfigError
from bsscale.schedules import checks

__all__ = [
    "AtMost",
    "Choice",
    "Flag",
    "Integer",
    "LearningRate",
    "Momentum",
    "Number",
    "PeakRate",
    "Rule",
    "check_fields",
]


# Up to here every integer is a float; no training has so many updates.
MOST_STEPS = 2**53


def check_fields(schedule: Any) -> None:
    """Check every field of a dataclass by its rules, and keep what they return.

    A field whose default is None is not checked where it is None. Each field is checked by itself
    before any is compared with another.

    Raises
    ------
    ConfigError
        With the field, its value and the remedy.
    """
    declared = [(field, rule) for field in fields(schedule) for rule in _rules(field.type)]
    for field, rule in declared:
        value = getattr(schedule, field.name)
        if isinstance(rule, Rule) and not (value is None and field.default is None):
            object.__setattr__(schedule, field.name, rule(field.name, value))
    for field, rule in declared:
        if isinstance(rule, AtMost):
            low, high = getattr(schedule, field.name), getattr(schedule, rule.other)
            if low > high:
                raise ConfigError(
                    f"{field.name} is {low:g}, above {rule.other}, which is {high:g}",
                    f"exchange them: {rule.why}",
                )


def _rules(annotation: Any) -> Iterator[Any]:
    """The rules in an annotation, including the inner ones of ``Momentum | None``."""
    if get_origin(annotation) is Annotated:
        yield from _rules(get_args(annotation)[0])
        yield from annotation.__metadata__
    elif get_origin(annotation) in (Union, UnionType):
        for each in get_args(annotation):
            yield from _rules(each)


class Rule(ABC):
    """A rule for the value of one field."""

    @abstractmethod
    def __call__(self, name: str, value: Any) -> Any:
        """The value to keep; raises ConfigError, with the name, for one that breaks the rule."""


@dataclass(frozen=True)
class Number(Rule):
    """A finite number for which `holds` is true; otherwise the error is `fact`.

    It is kept as a plain float: a NumPy scalar would make every call slower.
    """

    holds: Callable[[float], bool] = math.isfinite
    fact: str = ""
    remedy: str = ""

    def __call__(self, name: str, value: Any) -> float:
        if not isinstance(value, Real) or isinstance(value, bool):
            raise ConfigError(
                f"{name} is {value!r}, which is not a number", f"give {name} as a number"
            )
        try:
            plain = float(value)
        except OverflowError:
            plain = math.inf
        if not math.isfinite(plain):
            raise ConfigError(f"{name} is {plain}", f"give {name} as a finite number")
        if not self.holds(plain):
            raise ConfigError(f"{name} is {plain:g}, {self.fact}", self.remedy)
        return plain


@dataclass(frozen=True)
class Integer(Rule):
    """An integer of at least `least`, kept as a plain int."""

    least: int
    remedy: str

    def __call__(self, name: str, value: Any) -> int:
        try:
            count = operator.index(value)
        except TypeError:
            count = None
        if count is None or isinstance(value, bool):
            raise ConfigError(
                f"{name} is {value!r}, which is not a whole number", f"give {name} as an integer"
            )
        if count > MOST_STEPS:
            raise ConfigError(f"{name} is above {MOST_STEPS:.0e}", "give a smaller number")
        if count < self.least:
            raise ConfigError(f"{name} is {count}, below {self.least}", self.remedy)
        return count


class Boolean(Rule):
    """A plain bool."""

    def __call__(self, name: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{name} is {value!r}", "give true or false")
        return value


class Choice(Rule):
    """One of several words."""

    def __init__(self, *choices: str) -> None:
        self.choices = choices

    def __call__(self, name: str, value: Any) -> str:
        checks.choice(name, value, self.choices)
        return str(value)


@dataclass(frozen=True)
class AtMost:
    """The rule that a field's value is not above that of another field, with the reason."""

    other: str
    why: str


Flag = Annotated[bool, Boolean()]
LearningRate = Annotated[
    float, Number(lambda lr: lr >= 0, "below 0", "give a learning rate of 0 or more")
]
PeakRate = Annotated[
    float,
    Number(
        lambda lr: lr > 0, "and a peak of 0 or less trains nothing", "give a learning rate above 0"
    ),
]
Momentum = Annotated[
    float,
    Number(
        lambda momentum: 0 <= momentum < 1,
        "outside [0, 1)",
        "give a momentum from 0 to below 1 (at 1 no gradient is ever forgotten)",
    ),
]
