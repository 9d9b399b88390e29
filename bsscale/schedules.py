"""Learning-rate schedules as values.

A schedule says which learning rate (and which momentum) optimizer update ``t = 0, 1, 2, ...`` uses.
It is an immutable value that never sees an optimizer: the same number in always gives the same
number out, so it can be plotted, compared, put in a test, or handed to any training loop.

>>> cycle = OneCycle(cycle_min_lr=0.1, cycle_max_lr=0.5, cycle_first_step_size=4)
>>> [round(cycle.lr(t), 3) for t in range(10)]
[0.1, 0.2, 0.3, 0.4, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1]

A schedule of your own is a frozen dataclass with the formula for one step:

>>> @dataclass(frozen=True)
... class InverseSquareRoot(Schedule):
...     rate: float
...     def lr_at(self, step: int) -> float:
...         return self.rate / math.sqrt(step + 1)
>>> InverseSquareRoot(0.1).lr(np.arange(4)).round(4)
array([0.1   , 0.0707, 0.0577, 0.05  ])
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from bsscale.errors import ConfigError

__all__ = ["Constant", "OneCycle", "Schedule"]

Step: TypeAlias = int | np.integer[Any]
Steps: TypeAlias = NDArray[np.integer[Any]]
Values: TypeAlias = NDArray[np.float64]


class Schedule(ABC):
    """What every schedule is: a learning rate, and perhaps a momentum, for every step >= 0.

    Subclasses write the formula for one step, `lr_at` (and `momentum_at`); `lr` and `momentum`
    apply it to a step or to an array of steps. An array is a plain loop over the same scalar
    formula: training asks for one step at a time, where NumPy would cost ten times the formula, and
    NumPy's vectorised functions may round differently from the scalar ones, so that a plot would
    not show exactly the numbers that were trained with.
    """

    @abstractmethod
    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`, a Python int >= 0."""

    def momentum_at(self, step: int) -> float | None:
        """Momentum of update `step`; None, at every step or at none, to leave momentum alone."""
        return None

    def phases(self) -> tuple[tuple[str, int], ...]:
        """Name and first step of each phase, in order; empty for a shape without phases."""
        return ()

    def notes(self) -> tuple[str, ...]:
        """What a user should know before training with it: valid, but perhaps not meant."""
        return ()

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

        Takes and raises what `lr` does. Returns None where the schedule leaves momentum alone.
        """
        if isinstance(step, np.ndarray):
            return None if self.momentum_at(0) is None else _map(self.momentum_at, step)
        return self.momentum_at(_checked(step))


@dataclass(frozen=True)
class Constant(Schedule):
    r"""The same learning rate at every step; momentum is left alone.

    .. math:: \eta_t = \eta

    Parameters
    ----------
    rate
        Learning rate, above 0.

    Raises
    ------
    ConfigError
        If the rate is not a finite number above 0.
    """

    rate: float

    def __post_init__(self) -> None:
        rate = _number("rate", self.rate)
        if rate <= 0:
            raise ConfigError(
                f"rate is {rate:g}, and a constant rate of 0 or less trains nothing",
                "give a learning rate above 0",
            )
        object.__setattr__(self, "rate", rate)

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`: always `rate`."""
        return self.rate


@dataclass(frozen=True)
class OneCycle(Schedule):
    r"""One cycle from a low to a high learning rate and back, then a decay.

    With :math:`a` and :math:`b` the sizes of the two halves, the height :math:`s_t` is

    .. math::
        s_t = \begin{cases}
            t / a           & t < a \\
            1               & t = a \quad (0 \text{ if } b = 0) \\
            (a + b - t) / b & a < t \le a + b
        \end{cases}

    and with :math:`n > 0` stairs in that half :math:`s_t \leftarrow \lfloor n s_t \rfloor / n`. In
    the cycle the rate follows the height, and the momentum goes against it:

    .. math::
        \eta_t &= \eta_{min} + (\eta_{max} - \eta_{min}) s_t \\
        \mu_t  &= \mu_{max} - (\mu_{max} - \mu_{min}) s_t

    After it, :math:`t > a + b`, with :math:`k = (t - a - b) / \text{decay\_step\_size}`:

    .. math::
        \eta_t = \frac{\eta_{min}}{1 + \text{decay\_lr\_rate} \cdot k} \qquad
        \mu_t  = \frac{\mu_{max}}{1 + \text{decay\_mom\_rate} \cdot k}

    Parameters
    ----------
    cycle_min_lr, cycle_max_lr
        Learning rate at the start and end of the cycle, and at its peak; 0 <= min <= max, max > 0.
    cycle_first_step_size
        Steps of the rising half, >= 1.
    cycle_second_step_size
        Steps of the falling half, >= 0; None means as many as the first. With 0 there is no falling
        half, and the rate drops at step `a` from just below the peak to the minimum.
    cycle_first_stair_count
        Stairs of the rising half; 0 means continuous.
    cycle_second_stair_count
        Stairs of the falling half; None means as many as the first.
    decay_step_size
        Steps over which the decay rates count; 0 means no decay: the rate holds at its minimum.
    decay_lr_rate
        Decay of the learning rate, >= 0.
    cycle_momentum
        False leaves momentum alone.
    cycle_min_mom, cycle_max_mom
        Momentum at the peak, and at the start and end of the cycle; 0 <= min <= max < 1.
    decay_mom_rate
        Decay of the momentum after the cycle, >= 0.

    Raises
    ------
    ConfigError
        If a value is outside these bounds, or a decay rate is given that could do nothing.

    Notes
    -----
    The parameters are those of DeepSpeed's OneCycle [3]_, and the learning rate equals that of
    DeepSpeed 0.19.8 at every update to 1e-12 of the peak (where one half is thousands of times the
    length of the other, as far as DeepSpeed's own rounding allows). The differences are deliberate:

    - momentum is high at step 0, as everywhere where the rate is low; DeepSpeed starts it at
      `cycle_min_mom` for one update;
    - `decay_mom_rate` makes the momentum decay, so it cannot reach 1; DeepSpeed's grows without
      end;
    - a schedule is momentum only: Adam's beta2 is kept; DeepSpeed overwrites it with 0.99;
    - momentum is for any optimizer that has one; DeepSpeed cycles Adam's beta1, but not SGD's
      momentum;
    - a negative stair count and a minimum above the maximum are rejected; DeepSpeed takes the first
      for continuous, and turns the cycle upside down for the second.

    References
    ----------
    .. [1] L. N. Smith, N. Topin, "Super-Convergence: Very Fast Training of Neural Networks Using
       Large Learning Rates", 2017, arXiv:1708.07120.
    .. [2] L. N. Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018,
       arXiv:1803.09820.
    .. [3] DeepSpeed, `deepspeed.runtime.lr_schedules.OneCycle`.
    """

    cycle_min_lr: float
    cycle_max_lr: float
    cycle_first_step_size: int
    cycle_second_step_size: int | None = None
    cycle_first_stair_count: int = 0
    cycle_second_stair_count: int | None = None
    decay_step_size: int = 0
    decay_lr_rate: float = 0.0
    cycle_momentum: bool = True
    cycle_min_mom: float = 0.8
    cycle_max_mom: float = 0.9
    decay_mom_rate: float = 0.0

    def __post_init__(self) -> None:
        # Plain floats and ints: a NumPy scalar in a field would make every call slower, and its
        # results NumPy scalars.
        for name in (
            "cycle_min_lr",
            "cycle_max_lr",
            "decay_lr_rate",
            "cycle_min_mom",
            "cycle_max_mom",
            "decay_mom_rate",
        ):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        for name, least, remedy in (
            ("cycle_first_step_size", 1, "give the rising half at least 1 step"),
            ("cycle_second_step_size", 0, "give the steps of the falling half, or 0 for none"),
            ("cycle_first_stair_count", 0, "give 0 for a continuous half"),
            ("cycle_second_stair_count", 0, "give 0 for a continuous half"),
            ("decay_step_size", 0, "give the steps of the decay, or 0 for no decay"),
        ):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _whole(name, value, least, remedy))
        self._check_bounds()
        self._check_decay()

    def _check_bounds(self) -> None:
        if self.cycle_min_lr < 0:
            raise ConfigError(
                f"cycle_min_lr is {self.cycle_min_lr:g}, below 0",
                "give a learning rate of 0 or more",
            )
        if self.cycle_max_lr <= 0:
            raise ConfigError(
                f"cycle_max_lr is {self.cycle_max_lr:g}, and a peak of 0 or less trains nothing",
                "give a learning rate above 0",
            )
        if self.cycle_min_lr > self.cycle_max_lr:
            raise ConfigError(
                f"cycle_min_lr is {self.cycle_min_lr:g}, above cycle_max_lr, "
                f"which is {self.cycle_max_lr:g}",
                "exchange them, or raise cycle_max_lr: the cycle starts and ends at the minimum",
            )
        for name in ("cycle_min_mom", "cycle_max_mom"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ConfigError(
                    f"{name} is {value:g}, outside [0, 1)",
                    "give a momentum from 0 to below 1 (at 1 no gradient is ever forgotten)",
                )
        if self.cycle_min_mom > self.cycle_max_mom:
            raise ConfigError(
                f"cycle_min_mom is {self.cycle_min_mom:g}, above cycle_max_mom, "
                f"which is {self.cycle_max_mom:g}",
                "exchange them: momentum is at its minimum where the learning rate peaks",
            )

    def _check_decay(self) -> None:
        for name in ("decay_lr_rate", "decay_mom_rate"):
            rate = getattr(self, name)
            if rate < 0:
                raise ConfigError(
                    f"{name} is {rate:g}, below 0",
                    "give a rate of 0 or more: a positive rate makes the value decay",
                )
            if rate > 0 and self.decay_step_size == 0:
                raise ConfigError(
                    f"{name} is {rate:g}, but decay_step_size is 0, which means no decay",
                    f"give decay_step_size (steps over which the rate counts), or {name}=0",
                )
        if self.decay_mom_rate > 0 and not self.cycle_momentum:
            raise ConfigError(
                f"decay_mom_rate is {self.decay_mom_rate:g}, but cycle_momentum is false, which "
                "leaves momentum alone",
                "set cycle_momentum=true, or decay_mom_rate=0",
            )

    @property
    def second_step_size(self) -> int:
        """Steps of the falling half, the default resolved."""
        second = self.cycle_second_step_size
        return self.cycle_first_step_size if second is None else second

    @property
    def second_stair_count(self) -> int:
        """Stairs of the falling half as configured, the default resolved; 0 means continuous."""
        second = self.cycle_second_stair_count
        return self.cycle_first_stair_count if second is None else second

    @property
    def end_step(self) -> int:
        """Last step of the cycle, a + b: the rate is back at its minimum; the decay follows."""
        return self.cycle_first_step_size + self.second_step_size

    def levels(self) -> tuple[int, int]:
        """Distinct heights in the rising and the falling half, the peak (one step) left out.

        A half of `m` steps has at most `m` heights, so of `n` stairs `min(n, m)` remain.
        """
        halves = (
            (self.cycle_first_stair_count, self.cycle_first_step_size),
            (self.second_stair_count, self.second_step_size),
        )
        first, second = (min(stairs, steps) if stairs else steps for stairs, steps in halves)
        return first, second

    def phases(self) -> tuple[tuple[str, int], ...]:
        """Name and first step of each phase, in order; one without steps is left out."""
        fall = (("fall", self.cycle_first_step_size),) if self.second_step_size else ()
        # With b = 0 step a is already at the minimum; it still belongs to the cycle's formula, but
        # to a reader it is where the rest begins.
        rest = self.end_step + 1 if fall else self.end_step
        return (("rise", 0), *fall, ("decay" if self.decay_step_size else "hold", rest))

    def notes(self) -> tuple[str, ...]:
        """Stairs that are lost because a half is too short, and a peak that is never reached."""
        a, b = self.cycle_first_step_size, self.second_step_size
        notes = []
        if self.cycle_first_stair_count > a:
            notes.append(_lost_stairs("first", self.cycle_first_stair_count, "rising", a))
        # An inherited count for a half that does not exist is nobody's mistake.
        if self.second_stair_count > b and (b > 0 or self.cycle_second_stair_count is not None):
            notes.append(_lost_stairs("second", self.second_stair_count, "falling", b))
        if b == 0:
            notes.append(
                f"cycle_second_step_size is 0: the rate drops to cycle_min_lr at step {a}, and "
                f"rises to {self.lr_at(a - 1):g} at most, not to cycle_max_lr"
            )
        return tuple(notes)

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`: with the height, then the decay."""
        past = step - self.end_step
        if past <= 0:
            return _between(self.cycle_min_lr, self.cycle_max_lr, self._height(step))
        return _decayed(self.cycle_min_lr, self.decay_lr_rate, past, self.decay_step_size)

    def momentum_at(self, step: int) -> float | None:
        """Momentum of update `step`: against the height, then the decay; None if not cycled."""
        if not self.cycle_momentum:
            return None
        past = step - self.end_step
        if past <= 0:
            return _between(self.cycle_max_mom, self.cycle_min_mom, self._height(step))
        return _decayed(self.cycle_max_mom, self.decay_mom_rate, past, self.decay_step_size)

    def _height(self, step: int) -> float:
        """Height s of a step within the cycle, in [0, 1]."""
        a, b = self.cycle_first_step_size, self.second_step_size
        if step < a:
            climbed, size, stairs = step, a, self.cycle_first_stair_count
        elif step == a:
            return 1.0 if b else 0.0
        else:
            climbed, size, stairs = a + b - step, b, self.second_stair_count
        if stairs:
            # From integers: floor(n * (climbed / size)) would lose a stair wherever the quotient
            # rounds to just below an exact one, as 29/50 does with 50 stairs.
            return (climbed * stairs // size) / stairs
        return climbed / size


def _between(start: float, end: float, height: float) -> float:
    # This form is monotone in `height` even after rounding; start + (end - start) is not always
    # `end`, and the peak should be the number that was configured.
    return end if height == 1.0 else start + (end - start) * height


def _decayed(value: float, rate: float, past: int, size: int) -> float:
    return value / (1.0 + rate * (past / size)) if rate else value


def _checked(step: Step) -> int:
    index = operator.index(step)
    if index < 0:
        raise ValueError(f"step is {index}, but the first update is step 0")
    return index


def _map(at: Callable[[int], float | None], steps: Steps) -> Values:
    values = [at(_checked(step)) for step in steps.ravel().tolist()]
    return np.array(values, dtype=np.float64).reshape(steps.shape)


def _number(name: str, value: object) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}, which is not a number", f"give {name} as a number")
    if not math.isfinite(value):
        raise ConfigError(f"{name} is {float(value)}", f"give {name} as a finite number")
    return float(value)


def _whole(name: str, value: Any, least: int, remedy: str) -> int:
    try:
        whole = operator.index(value)
    except TypeError:
        whole = None
    if whole is None or isinstance(value, bool):
        raise ConfigError(
            f"{name} is {value!r}, which is not a whole number", f"give {name} as an integer"
        )
    if whole < least:
        raise ConfigError(f"{name} is {whole}, below {least}", remedy)
    return whole


def _lost_stairs(which: str, stairs: int, half: str, steps: int) -> str:
    remain = f"{steps} of its stairs remain" if steps else "none of its stairs remain"
    return f"cycle_{which}_stair_count is {stairs}, but the {half} half has {steps} steps: {remain}"
