"""Cosine decay."""

import math
from dataclasses import dataclass
from typing import Annotated

from bsscale.schedules.base import Schedule, interpolate
from bsscale.schedules.fields import AtMost, Integer, LearningRate, PeakRate

__all__ = ["Cosine"]


@dataclass(frozen=True)
class Cosine(Schedule):
    r"""Half a cosine from the peak to a final rate, then constant; momentum is not set.

    .. math::
        \eta_t = \eta_{final} + \frac{\eta_{peak} - \eta_{final}}{2}
                 \left(1 + \cos\left(\pi \min(t / n, 1)\right)\right)

    For a warmup before it, put both in a `Sequence`.

    Parameters
    ----------
    peak_lr
        Learning rate at step 0, above 0.
    decay_steps
        n, the steps to the final rate, >= 1.
    final_lr
        Learning rate from step n on; 0 <= final <= peak.

    Raises
    ------
    ConfigError
        If a value is outside these bounds.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017,
    arXiv:1608.03983, without the restarts.
    """

    peak_lr: PeakRate
    decay_steps: Annotated[int, Integer(1, "give at least 1 step")]
    final_lr: Annotated[LearningRate, AtMost("peak_lr", "the rate decays to the final one")] = 0.0

    @property
    def length(self) -> int:
        return self.decay_steps

    @property
    def peak(self) -> float:
        return self.peak_lr

    def phases(self) -> tuple[tuple[str, int], ...]:
        """The decay, and the constant rate after it."""
        return (("decay", 0), ("hold", self.decay_steps))

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`: on the cosine, then the final one."""
        turn = math.cos(math.pi * min(step / self.decay_steps, 1.0))
        return interpolate(self.final_lr, self.peak_lr, (1.0 + turn) / 2.0)
