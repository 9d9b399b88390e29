"""Warmup-stable-decay."""

from __future__ import annotations

from dataclasses import dataclass

from bsscale.errors import ConfigError
from bsscale.schedules import checks
from bsscale.schedules.base import Schedule, between

__all__ = ["WSD"]


@dataclass(frozen=True)
class WSD(Schedule):
    r"""Warmup, stable, decay: a trapezoid, then constant; momentum is left alone.

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

    peak_lr: float
    warmup_steps: int
    stable_steps: int
    decay_steps: int
    start_lr: float = 0.0
    final_lr: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "peak_lr", checks.peak("peak_lr", self.peak_lr))
        for name in ("start_lr", "final_lr"):
            object.__setattr__(self, name, checks.rate(name, getattr(self, name)))
            checks.not_above(
                name, getattr(self, name), "peak_lr", self.peak_lr, "the peak is in the middle"
            )
        for name in ("warmup_steps", "stable_steps", "decay_steps"):
            steps = checks.whole(name, getattr(self, name), 0, "give 0 to leave this phase out")
            object.__setattr__(self, name, steps)
        if self.warmup_steps + self.decay_steps == 0:
            raise ConfigError(
                "warmup_steps and decay_steps are both 0, which leaves a constant rate",
                "give one of them, or take a constant schedule",
            )

    @property
    def length(self) -> int:
        return self.warmup_steps + self.stable_steps + self.decay_steps

    @property
    def peak(self) -> float:
        return self.peak_lr

    def phases(self) -> tuple[tuple[str, int], ...]:
        """The phases that have a step, and the constant rate after them."""
        lengths = (
            ("warmup", self.warmup_steps),
            ("stable", self.stable_steps),
            ("decay", self.decay_steps),
        )
        phases, first = [], 0
        for name, steps in lengths:
            if steps:
                phases.append((name, first))
            first += steps
        return (*phases, ("hold", first))

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`."""
        if step < self.warmup_steps:
            return between(self.start_lr, self.peak_lr, step / self.warmup_steps)
        left = self.length - step
        if left >= self.decay_steps:
            return self.peak_lr
        if left <= 0:
            return self.final_lr if self.decay_steps else self.peak_lr
        return between(self.final_lr, self.peak_lr, left / self.decay_steps)
