"""A schedule of the user's own: any object with ``lr(step)``."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from bsscale.errors import BsscaleError, ConfigError
from bsscale.schedules import checks
from bsscale.schedules.base import Schedule

__all__ = ["Custom"]

# Steps whose values are computed a second time, evenly spaced over the training.
REPEATED_STEPS = 10_000
_PURE = "a schedule's value depends on the step alone: the same step must give the same number"


@dataclass(frozen=True)
class Custom(Schedule):
    """A schedule that calls an object of a class of the user's own.

    Parameters
    ----------
    target
        Import path of a class, or of a function that returns an object, with ``lr(step)``: the
        learning rate of update `step`, a Python int from 0. It may have ``momentum(step)``,
        ``length`` (steps that the shape takes), ``phases()`` (name and first step of each),
        ``notes()`` (sentences for the plan) and ``check(steps)``, which raises an error for a
        training that is too long or too short.
    arguments
        Its keyword arguments.

    Raises
    ------
    ConfigError
        If there is no such class, if calling it fails, or if the object is not a schedule.
    """

    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _ = self._object, self.length, self.phases(), self.notes()

    def __reduce__(self) -> tuple[Any, ...]:
        return Custom, (self.target, self.arguments)  # (another process creates its own object)

    @cached_property
    def _object(self) -> Any:
        target = checks.imported("schedule._target_", self.target, "my_module.MySchedule")
        given = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        try:
            made = target(**self.arguments)
        except BsscaleError:
            raise
        except Exception as error:
            known = ", ".join(checks.parameters_of(target))
            raise ConfigError(
                f"{self._name} called with ({given}) failed with {_described(error)}",
                f"its options are: {known}" if known else "change the options below schedule.",
            ) from error
        if not callable(getattr(made, "lr", None)):
            raise ConfigError(
                f"{self._name} gave a {type(made).__name__}, which has no method lr(step)",
                "write lr(self, step): the learning rate of update step, counted from 0",
            )
        return made

    @property
    def _name(self) -> str:
        return f"schedule._target_={self.target}"

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`; raises ConfigError for an invalid one."""
        lr = self._number("lr", step, self._call("lr", step))
        if not 0 <= lr < math.inf:
            raise ConfigError(
                f"{self._name} gives a learning rate of {lr} at step {step}",
                "let lr(step) return a finite number of 0 or more",
            )
        return lr

    def momentum_at(self, step: int) -> float | None:
        """Momentum of update `step`; None where the object has no ``momentum``, or returns None."""
        if not hasattr(self._object, "momentum"):
            return None
        value = self._call("momentum", step)
        if value is None:
            return None
        momentum = self._number("momentum", step, value)
        if not 0 <= momentum < 1:
            raise ConfigError(
                f"{self._name} gives a momentum of {momentum} at step {step}",
                "let momentum(step) return a number from 0 to below 1",
            )
        return momentum

    @cached_property
    def length(self) -> int:
        """The object's ``length``: the number of updates of its shape."""
        length = getattr(self._object, "length", 0)
        if not isinstance(length, int) or isinstance(length, bool) or length < 0:
            raise ConfigError(
                f"{self._name} has a length of {length!r}",
                "let length be a number of steps, an int of 0 or more (an attribute or a property)",
            )
        return length

    def phases(self) -> tuple[tuple[str, int], ...]:
        """The object's phases; none if it has no such method."""
        try:
            phases = tuple(
                (str(name), operator.index(step)) for name, step in self._listed("phases")
            )
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"phases() of {self._name} are not pairs: {error}",
                'return pairs of a name and its first step, such as [("rise", 0), ("fall", 100)]',
            ) from None
        return phases

    def notes(self) -> tuple[str, ...]:
        """The object's notes; none if it has no such method."""
        return tuple(str(note) for note in self._listed("notes"))

    def check(self, steps: int) -> None:
        """Check every value of a training of `steps` updates, and compute many of them twice."""
        if hasattr(self._object, "check"):
            self._call("check", steps, remedy="change its options, or the budget")
        every = np.arange(steps)
        momenta = [self.momentum_at(step) for step in range(steps)]
        none = [step for step, momentum in enumerate(momenta) if momentum is None]
        if none and len(none) < steps:
            other = next(step for step in range(steps) if momenta[step] is not None)
            raise ConfigError(
                f"{self._name} gives a momentum at step {other} and none at step {none[0]}",
                "let momentum(step) return a number at every step, or None at every step",
            )
        rates = self.lr(every)
        again = np.unique(np.linspace(0, steps - 1, min(steps, REPEATED_STEPS)).astype(int))
        for step in again[::-1].tolist():
            for what, first, second in (
                ("lr", rates[step], self.lr_at(step)),
                ("momentum", momenta[step], self.momentum_at(step)),
            ):
                if first != second:
                    raise ConfigError(
                        f"{self._name} gives {what}({step})={first} when it is asked first and "
                        f"{second} when it is asked again",
                        _PURE,
                    )

    def _listed(self, method: str) -> Iterable[Any]:
        found = self._call(method) if hasattr(self._object, method) else ()
        if not isinstance(found, list | tuple):
            raise ConfigError(
                f"{method}() of {self._name} gave a {type(found).__name__}", "return a list"
            )
        return found

    def _number(self, method: str, step: int, value: Any) -> float:
        """The value that a method returned for a step, if it is a number of Python or NumPy."""
        kind = np.asarray(value).dtype.kind
        if np.ndim(value) != 0 or kind not in "fiu":
            raise ConfigError(
                f"{self._name} gives {method}({step})={_shown(value)}, which is not a number",
                f"let {method}(step) return one number for one step, which is an int",
            )
        return float(value)

    def _call(self, method: str, *arguments: int, remedy: str = f"let it work; {_PURE}") -> Any:
        function: Callable[..., Any] = getattr(self._object, method)
        try:
            return function(*arguments)
        except BsscaleError:
            raise
        except Exception as error:
            text = ", ".join(map(str, arguments))
            raise ConfigError(
                f"{method}({text}) of {self._name} failed with {_described(error)}",
                remedy,
            ) from error


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _shown(value: object) -> str:
    shape = np.shape(value) if isinstance(value, np.ndarray) else ()
    return f"an array of shape {shape}" if shape else repr(value)
