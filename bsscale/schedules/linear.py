"""Straight lines: any, and the gradual warmup."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from bsscale.errors import ConfigError
from bsscale.schedules.base import Schedule, interpolate
from bsscale.schedules.fields import AtMost, Integer, LearningRate, Momentum, PeakRate
from bsscale.schedules.joined import Joined, Piece

__all__ = ["Linear", "LinearWarmup"]


@dataclass(frozen=True)
class Linear(Schedule):
    r"""A straight line from one learning rate to another, up or down, then constant.

    .. math:: \eta_t = \eta_{start} + (\eta_{end} - \eta_{start}) \min(t / n, 1)

    and the same for the momentum, where one is given. Two of them in a `Sequence` make the triangle
    of Smith's cyclical learning rates [1]_.

    Parameters
    ----------
    start_lr, end_lr
        Learning rate at step 0, and from step n on; at least one of them above 0.
    steps
        n, the steps of the line, >= 1.
    start_momentum, end_momentum
        Momentum at the same steps, in [0, 1); None for both: the momentum is not set.

    Raises
    ------
    ConfigError
        If a value is outside these bounds.

    References
    ----------
    .. [1] L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017,
       arXiv:1506.01186.
    """

    start_lr: LearningRate
    end_lr: LearningRate
    steps: Annotated[int, Integer(1, "give the line at least 1 step")]
    start_momentum: Momentum | None = None
    end_momentum: Momentum | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start_lr == self.end_lr == 0:
            raise ConfigError(
                "start_lr and end_lr are both 0, which trains nothing",
                "give one of them a learning rate above 0",
            )
        if (self.start_momentum is None) != (self.end_momentum is None):
            raise ConfigError(
                f"start_momentum is {self.start_momentum} and end_momentum is {self.end_momentum}",
                "give both, or neither if the momentum shall not change",
            )

    @property
    def length(self) -> int:
        return self.steps

    @property
    def peak(self) -> float:
        return max(self.start_lr, self.end_lr)

    def phases(self) -> tuple[tuple[str, int], ...]:
        """The line, and the constant rate that it ends in."""
        return (("line", 0), ("hold", self.steps))

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`: on the line, then at its end."""
        return interpolate(self.start_lr, self.end_lr, min(step / self.steps, 1.0))

    def momentum_at(self, step: int) -> float | None:
        """Momentum of update `step`: on the line, then constant; None if it is not set."""
        if self.start_momentum is None or self.end_momentum is None:
            return None
        return interpolate(self.start_momentum, self.end_momentum, min(step / self.steps, 1.0))


@dataclass(frozen=True)
class LinearWarmup(Joined):
    r"""Gradual warmup: in equal increments to the peak, then constant; momentum is not set.

    .. math:: \eta_t = \eta_{start} + (\eta_{peak} - \eta_{start}) \min(t / n, 1)

    Goyal et al. [1]_ start from the rate of one worker, and warm up to the rate of k workers, k
    times as high.

    Parameters
    ----------
    peak_lr
        Learning rate from step n on, above 0.
    warmup_steps
        n, the steps before that, >= 1.
    start_lr
        Learning rate at step 0; 0 <= start <= peak.

    Raises
    ------
    ConfigError
        If a value is outside these bounds.

    References
    ----------
    .. [1] P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017,
       arXiv:1706.02677, section 2.2.
    """

    peak_lr: PeakRate
    warmup_steps: Annotated[int, Integer(1, "give at least 1 step, or a constant schedule")]
    start_lr: Annotated[LearningRate, AtMost("peak_lr", "a warmup ends at its peak")] = 0.0

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """A line to the peak, which it holds."""
        line = Linear(self.start_lr, self.peak_lr, self.warmup_steps)
        return (Piece("warmup", line, self.warmup_steps),)
