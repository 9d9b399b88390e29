"""The learning-rate range test: a rate that grows until training diverges."""

import math
from dataclasses import dataclass
from typing import Annotated

from bsscale.errors import ConfigError
from bsscale.schedules.base import Schedule
from bsscale.schedules.fields import Flag, Integer, Number, PeakRate

__all__ = ["ExponentialRangeTest", "RangeTest"]

Steps = Annotated[int, Integer(1, "give at least 1 step")]


@dataclass(frozen=True)
class RangeTest(Schedule):
    r"""A rate that grows in a straight line without end; momentum is not set.

    .. math:: \eta_t = \eta_{min} (1 + r \, t / m)

    with :math:`\lfloor t / m \rfloor` for :math:`t / m` in a staircase.

    Parameters
    ----------
    lr_range_test_min_lr
        Learning rate at step 0, above 0.
    lr_range_test_step_size
        m, the steps in which the rate grows by r times its minimum, >= 1.
    lr_range_test_step_rate
        r, above 0.
    lr_range_test_staircase
        Whether the rate is constant for m steps at a time.

    Raises
    ------
    ConfigError
        If a value is outside these bounds.

    Notes
    -----
    Parameters and values are those of DeepSpeed's LRRangeTest.

    References
    ----------
    L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186,
    section 3.3.
    """

    lr_range_test_min_lr: PeakRate
    lr_range_test_step_size: Steps
    lr_range_test_step_rate: Annotated[
        float,
        Number(
            lambda rate: rate > 0,
            "and the rate would not grow",
            "give a rate above 0: each step size adds that many times the minimum",
        ),
    ] = 1.0
    lr_range_test_staircase: Flag = False

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`."""
        size = self.lr_range_test_step_size
        grown = step // size if self.lr_range_test_staircase else step / size
        return self.lr_range_test_min_lr * (1 + self.lr_range_test_step_rate * grown)


@dataclass(frozen=True)
class ExponentialRangeTest(Schedule):
    r"""A rate that grows by the same factor at every step, then holds; momentum is not set.

    .. math:: \eta_t = \eta_{min} \left(\eta_{max} / \eta_{min}\right)^{\min(t / n, 1)}

    Each decade of rates gets as many steps as the next, so one test covers several of them. It is
    the form of the learning-rate finders of fastai and Lightning.

    Parameters
    ----------
    min_lr, max_lr
        Learning rate at step 0, and from step n on; 0 < min < max.
    steps
        n, >= 1.

    Raises
    ------
    ConfigError
        If a value is outside these bounds.
    """

    min_lr: PeakRate
    max_lr: PeakRate
    steps: Steps

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_lr >= self.max_lr:
            raise ConfigError(
                f"min_lr is {self.min_lr:g}, not below max_lr, which is {self.max_lr:g}",
                "exchange or change them: the test goes up from the minimum",
            )

    @property
    def length(self) -> int:
        return self.steps

    @property
    def peak(self) -> float:
        return self.max_lr

    def phases(self) -> tuple[tuple[str, int], ...]:
        """The growth, and the constant rate after it."""
        return (("growth", 0), ("hold", self.steps))

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`."""
        height = step / self.steps
        if step == 0 or height >= 1.0:
            return self.min_lr if step == 0 else self.max_lr
        # Logarithms, because max / min can overflow. Clip the result, because rounding can move it
        # beyond the ends.
        exponent = math.log(self.min_lr) * (1.0 - height) + math.log(self.max_lr) * height
        return min(max(math.exp(exponent), self.min_lr), self.max_lr)
