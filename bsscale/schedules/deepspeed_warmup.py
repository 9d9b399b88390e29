"""DeepSpeed's warmups, its own numbers at every update."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from bsscale.schedules.base import Schedule, interpolate
from bsscale.schedules.cosine import Cosine
from bsscale.schedules.fields import AtMost, Choice, Integer, LearningRate, Number, PeakRate
from bsscale.schedules.joined import Joined, Piece, Reversed
from bsscale.schedules.linear import Linear

__all__ = ["WarmupCosineLR", "WarmupDecayLR", "WarmupLR"]

Start = Annotated[LearningRate, AtMost("warmup_max_lr", "a warmup goes up")]
Ratio = Annotated[
    float,
    Number(lambda ratio: ratio >= 0, "below 0", "give a ratio from 0 to 1"),
    Number(lambda ratio: ratio <= 1, "above the whole, which is 1", "give a ratio from 0 to 1"),
]


@dataclass(frozen=True)
class _Logarithm(Schedule):
    """From one learning rate up to another, fast at first, then constant."""

    start_lr: float
    end_lr: float
    steps: int

    @property
    def peak(self) -> float:
        return self.end_lr

    def lr_at(self, step: int) -> float:
        if step >= self.steps:
            return self.end_lr
        # The same operations as DeepSpeed, clipped, because rounding can move the result above the
        # peak.
        height = min(1.0, 1.0 / math.log(self.steps) * math.log(step + 1))
        return interpolate(self.start_lr, self.end_lr, height)


@dataclass(frozen=True, kw_only=True)
class _Warmup(Joined):
    """The common part of all three: a warmup, with every value one update late."""

    warmup_num_steps: Annotated[int, Integer(0, "give 0 steps or more")] = 1000
    warmup_type: Annotated[str, Choice("log", "linear")] = "log"

    @property
    def _steps(self) -> int:
        # With 1 step the logarithm would divide by 0: DeepSpeed takes 2, and for 0 steps as well.
        return max(2, self.warmup_num_steps)

    def _rise(self, start: float, end: float) -> Piece:
        shape = Linear if self.warmup_type == "linear" else _Logarithm
        return Piece("warmup", shape(start, end, self._steps), self._steps)

    def lr_at(self, step: int) -> float:
        return super().lr_at(max(step - 1, 0))

    def phases(self) -> tuple[tuple[str, int], ...]:
        """The pieces that have a step, each one update later, and the constant rate after them."""
        (name, _), *others = super().phases()
        return ((name, 0), *((name, first + 1) for name, first in others))


@dataclass(frozen=True, kw_only=True)
class _WarmupAndDecay(_Warmup):
    """The common part of two of them: a decay that ends with the training."""

    total_num_steps: Annotated[int, Integer(1, "give the steps of the whole training")]

    @property
    def _decay_steps(self) -> int:
        return max(0, self.total_num_steps - self._steps)

    def notes(self) -> tuple[str, ...]:
        """A total that leaves no steps to decay in."""
        if self._decay_steps:
            return ()
        return (
            f"total_num_steps is {self.total_num_steps}, not above the warmup's {self._steps} "
            "steps: the rate drops to its end at once, without a decay",
        )


@dataclass(frozen=True, kw_only=True)
class WarmupLR(_Warmup):
    r"""DeepSpeed's WarmupLR: up to the maximum, then constant; momentum is not set.

    .. math:: \eta_0 = \eta_{min} \qquad
              \eta_t = \eta_{min} + (\eta_{max} - \eta_{min}) \, \gamma(t - 1)

    with W the larger of warmup_num_steps and 2, and for :math:`k < W`

    .. math:: \text{log}: \; \gamma(k) = \ln(k + 1) / \ln W \qquad
              \text{linear}: \; \gamma(k) = k / W

    and 1 from W on. As :math:`\gamma(0) = 0`, the minimum is used twice; `LinearWarmup` uses it
    once.

    Parameters
    ----------
    warmup_max_lr
        Learning rate after the warmup, above 0.
    warmup_min_lr
        Learning rate of the first two updates; 0 <= min <= max.
    warmup_num_steps
        Steps of the warmup, >= 0; 0 and 1 count as 2.
    warmup_type
        "log" or "linear".

    Raises
    ------
    ConfigError
        If a value is outside these bounds.
    """

    warmup_max_lr: PeakRate
    warmup_min_lr: Start = 0.0

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The warmup, which holds its end."""
        return (self._rise(self.warmup_min_lr, self.warmup_max_lr),)


@dataclass(frozen=True, kw_only=True)
class WarmupDecayLR(_WarmupAndDecay):
    r"""DeepSpeed's WarmupDecayLR: a warmup, then a straight line back to the minimum.

    As `WarmupLR`, but for :math:`k \ge W`, with T = total_num_steps,

    .. math:: \gamma(k) = \max\left(0, \frac{T - k}{\max(1, T - W)}\right)

    Parameters
    ----------
    total_num_steps
        T, >= 1. If it is below W, the rate drops to the minimum after the warmup.
    warmup_max_lr, warmup_min_lr, warmup_num_steps, warmup_type
        Those of `WarmupLR`.

    Raises
    ------
    ConfigError
        If a value is outside these bounds.
    """

    warmup_max_lr: PeakRate
    warmup_min_lr: Start = 0.0

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The warmup, and a line down."""
        low, high, steps = self.warmup_min_lr, self.warmup_max_lr, self._decay_steps
        line = Reversed(Linear(low, high, max(1, steps)))
        # Without a step to decay in, the line is at its end at once.
        first = 0 if steps else 1
        return (self._rise(low, high), Piece("decay", line, steps, first))


@dataclass(frozen=True, kw_only=True)
class WarmupCosineLR(_WarmupAndDecay):
    r"""DeepSpeed's WarmupCosineLR: a warmup, then half a cosine; momentum is not set.

    .. math:: \eta_0 = 0 \qquad \eta_t = \eta \, \rho(t - 1)

    with W and :math:`\gamma` those of `WarmupLR`, and T = total_num_steps,

    .. math::
        \rho(k) = \begin{cases}
            \rho_{warmup} + (1 - \rho_{warmup}) \, \gamma(k)              & k < W \\
            \rho_{cos} + \frac{1 - \rho_{cos}}{2} (1 + \cos \pi x)        & k \ge W
        \end{cases} \qquad
        x = \min\left(1, \frac{k - W + 1}{\max(1, T - W)}\right)

    Parameters
    ----------
    base_lr
        :math:`\eta`, above 0: the learning rate that the optimizer is configured with.
    total_num_steps
        T, >= 1. If it is not above W, the rate drops to its end after the warmup.
    warmup_min_ratio, cos_min_ratio
        Start of the warmup and end of the cosine, as a fraction of base_lr, from 0 to 1.
    warmup_num_steps, warmup_type
        Those of `WarmupLR`.

    Raises
    ------
    ConfigError
        If a value is outside these bounds.
    """

    base_lr: PeakRate
    warmup_min_ratio: Ratio = 0.0
    cos_min_ratio: Ratio = 0.0001

    @property
    def peak(self) -> float:
        return self.base_lr

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The warmup, and the cosine from its second step on; both in ratios of base_lr."""
        steps = self._decay_steps
        cosine = Cosine(1.0, max(1, steps), self.cos_min_ratio)
        return (self._rise(self.warmup_min_ratio, 1.0), Piece("decay", cosine, steps, first=1))

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`; the first is always 0, for any warmup_min_ratio."""
        return self.base_lr * super().lr_at(step) if step else 0.0
