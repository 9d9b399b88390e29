"""Warmup-stable-decay."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from bsscale.errors import ConfigError
from bsscale.schedules.constant import Constant
from bsscale.schedules.fields import AtMost, Integer, LearningRate, PeakRate
from bsscale.schedules.joined import Joined, Piece, Reversed
from bsscale.schedules.linear import Linear

__all__ = ["WSD"]

Phase = Annotated[int, Integer(0, "give 0 to leave this phase out")]
Edge = Annotated[LearningRate, AtMost("peak_lr", "the peak is in the middle")]


@dataclass(frozen=True)
class WSD(Joined):
    r"""Warmup, stable, decay: a trapezoid, then constant; momentum is not set.

    With :math:`w, s, d` the steps of the three phases,

    .. math::
        \eta_t = \begin{cases}
            \eta_{start} + (\eta_{peak} - \eta_{start}) \, t / w & t < w \\
            \eta_{peak}                                          & w \le t \le w + s \\
            \eta_{final} + (\eta_{peak} - \eta_{final}) (w + s + d - t) / d
                                                                 & w + s < t < w + s + d \\
            \eta_{final}                                         & w + s + d \le t
        \end{cases}

    Parameters
    ----------
    peak_lr
        Learning rate of the stable phase, above 0.
    warmup_steps, stable_steps, decay_steps
        w, s and d; each >= 0, and w + d >= 1. Without a decay the rate stays at its peak.
    start_lr, final_lr
        Learning rate at step 0 of the warmup, and after the decay; 0 <= either <= peak.

    Raises
    ------
    ConfigError
        If a value is outside these bounds.

    References
    ----------
    S. Hu et al., "MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training
    Strategies", 2024, arXiv:2404.06395. A straight line down is the cooldown that A. Hägele et al.,
    2024, arXiv:2405.18392, take as their baseline.
    """

    peak_lr: PeakRate
    warmup_steps: Phase
    stable_steps: Phase
    decay_steps: Phase
    start_lr: Edge = 0.0
    final_lr: Edge = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_steps + self.decay_steps == 0:
            raise ConfigError(
                "warmup_steps and decay_steps are both 0, which leaves a constant rate",
                "give one of them, or take a constant schedule",
            )

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """A line up, the peak, and a line down, those that have a step."""
        peak, pieces = self.peak_lr, []
        if steps := self.warmup_steps:
            pieces.append(Piece("warmup", Linear(self.start_lr, peak, steps), steps))
        if steps := self.stable_steps:
            pieces.append(Piece("stable", Constant(peak), steps))
        if steps := self.decay_steps:
            pieces.append(Piece("decay", Reversed(Linear(self.final_lr, peak, steps)), steps))
        return tuple(pieces)
