"""The base class of all schedules."""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from bsscale.errors import ConfigError
from bsscale.schedules.fields import check_fields

__all__ = ["Schedule", "interpolate"]

Step: TypeAlias = int | np.integer[Any]
Steps: TypeAlias = NDArray[np.integer[Any]]
Values: TypeAlias = NDArray[np.float64]


class Schedule(ABC):
    """A schedule: a learning rate, and optionally a momentum, for every step >= 0.

    Subclasses write the formula for one step, `lr_at` (and `momentum_at`); `lr` and `momentum`
    apply it to a step or to an array of steps. An array is a plain loop over the same scalar
    formula: training asks for one step at a time, where NumPy would cost ten times the formula, and
    NumPy's vectorised functions may round differently from the scalar ones, so that a plot would
    not show exactly the numbers that were trained with.

    A subclass that is a dataclass may declare the rules of its fields (`bsscale.schedules.fields`).
    """

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`, a Python int >= 0."""

    def momentum_at(self, step: int) -> float | None:
        """Momentum of update `step`, or None at every step if the schedule does not set it."""
        return None

    @property
    def length(self) -> int:
        """Updates until the shape is complete, without an endless tail; 0 if it has no length."""
        return 0

    @property
    def peak(self) -> float | None:
        """The highest learning rate as configured; None where the shape has none."""
        return None

    def phases(self) -> tuple[tuple[str, int], ...]:
        """Name and first step of each phase, in order; empty for a shape without phases."""
        return ()

    def notes(self) -> tuple[str, ...]:
        """Notes on valid settings that may be a mistake."""
        return ()

    def check(self, steps: int) -> None:
        """Raise ConfigError if a training of `steps` updates would meet a value that cannot train.

        A schedule does not know the number of updates of a training, so the caller, which does,
        calls this before training.
        """
        for step in (0, steps - 1):
            lr = self.lr_at(step)
            if not 0 <= lr < math.inf:
                raise ConfigError(
                    f"the learning rate is {lr} at step {step}",
                    "change the schedule: a learning rate is a finite number of 0 or more",
                )

    @overload
    def lr(self, step: Steps) -> Values: ...
    @overload
    def lr(self, step: Step) -> float: ...
    def lr(self, step: Step | Steps) -> float | Values:
        """Learning rate that update `step` uses, counted from 0.

        Parameters
        ----------
        step
            An integer >= 0 (a NumPy integer will do), or an integer array of any shape.

        Returns
        -------
        float or ndarray of float64
            A float for an integer, an array of the same shape for an array; equal bit for bit.

        Raises
        ------
        ValueError
            If a step is negative.
        TypeError
            If a step is not an integer.
        """
        if isinstance(step, np.ndarray):
            return _map(self.lr_at, step)
        return self.lr_at(_checked(step))

    @overload
    def momentum(self, step: Steps) -> Values | None: ...
    @overload
    def momentum(self, step: Step) -> float | None: ...
    def momentum(self, step: Step | Steps) -> float | Values | None:
        """Momentum that update `step` uses: SGD's momentum, or Adam's beta1.

        Takes and raises what `lr` does. Returns None if the schedule does not set momentum.
        """
        if isinstance(step, np.ndarray):
            return None if self.momentum_at(0) is None else _map(self.momentum_at, step)
        return self.momentum_at(_checked(step))


def interpolate(start: float, end: float, height: float) -> float:
    """The point between two values at a height in [0, 1]: `start` at 0, `end` at 1."""
    # This form is monotone in `height` even after rounding; start + (end - start) is not always
    # `end`, and the peak should be the number that was configured.
    return end if height == 1.0 else start + (end - start) * height


def _checked(step: Step) -> int:
    index = operator.index(step)
    if index < 0:
        raise ValueError(f"step is {index}, but the first update is step 0")
    return index


def _map(at: Callable[[int], float | None], steps: Steps) -> Values:
    values = [at(_checked(step)) for step in steps.ravel().tolist()]
    return np.array(values, dtype=np.float64).reshape(steps.shape)
