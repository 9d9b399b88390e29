"""Straight lines: any, and the gradual warmup."""

from __future__ import annotations

from dataclasses import dataclass

from bsscale.errors import ConfigError
from bsscale.schedules import checks
from bsscale.schedules.base import Schedule, between

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
        Momentum at the same steps, in [0, 1); None, both of them, leaves momentum alone.

    Raises
    ------
    ConfigError
        If a value is outside these bounds.

    References
    ----------
    .. [1] L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017,
       arXiv:1506.01186.
    """

    start_lr: float
    end_lr: float
    steps: int
    start_momentum: float | None = None
    end_momentum: float | None = None

    def __post_init__(self) -> None:
        start, end = checks.rate("start_lr", self.start_lr), checks.rate("end_lr", self.end_lr)
        if start == end == 0:
            raise ConfigError(
                "start_lr and end_lr are both 0, which trains nothing",
                "give one of them a learning rate above 0",
            )
        object.__setattr__(self, "start_lr", start)
        object.__setattr__(self, "end_lr", end)
        steps = checks.whole("steps", self.steps, 1, "give the line at least 1 step")
        object.__setattr__(self, "steps", steps)
        if (self.start_momentum is None) != (self.end_momentum is None):
            raise ConfigError(
                f"start_momentum is {self.start_momentum} and end_momentum is {self.end_momentum}",
                "give both, or neither to leave momentum alone",
            )
        for name in ("start_momentum", "end_momentum"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checks.momentum(name, getattr(self, name)))

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
        return between(self.start_lr, self.end_lr, min(step / self.steps, 1.0))

    def momentum_at(self, step: int) -> float | None:
        """Momentum of update `step`: on its line, then at its end; None if left alone."""
        if self.start_momentum is None or self.end_momentum is None:
            return None
        return between(self.start_momentum, self.end_momentum, min(step / self.steps, 1.0))


@dataclass(frozen=True)
class LinearWarmup(Schedule):
    r"""Gradual warmup: in equal increments to the peak, then constant; momentum is left alone.

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

    peak_lr: float
    warmup_steps: int
    start_lr: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "peak_lr", checks.peak("peak_lr", self.peak_lr))
        object.__setattr__(self, "start_lr", checks.rate("start_lr", self.start_lr))
        steps = checks.whole(
            "warmup_steps", self.warmup_steps, 1, "give at least 1 step, or a constant schedule"
        )
        object.__setattr__(self, "warmup_steps", steps)
        checks.not_above(
            "start_lr", self.start_lr, "peak_lr", self.peak_lr, "a warmup ends at its peak"
        )

    @property
    def length(self) -> int:
        return self.warmup_steps

    @property
    def peak(self) -> float:
        return self.peak_lr

    def phases(self) -> tuple[tuple[str, int], ...]:
        """The warmup, and the constant rate after it."""
        return (("warmup", 0), ("hold", self.warmup_steps))

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`: the warmup, then the peak."""
        return between(self.start_lr, self.peak_lr, min(step / self.warmup_steps, 1.0))
