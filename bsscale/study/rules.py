"""The budget of a study, which it settles from its runs at 1 GPU, before any other."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

__all__ = ["budget_samples", "in_intervals"]


def budget_samples(
    samples_to_target: Sequence[float], factor: float, samples_per_pass: int, interval: int
) -> int:
    """The most samples of a run: enough to see that an arm is several times slower.

    Parameters
    ----------
    samples_to_target
        Of each run at 1 GPU; infinite where it did not reach the target. Where the median is
        infinite, one pass stands for it.
    factor
        How many times the median an arm may take.
    samples_per_pass
        Training samples in one pass. No schedule is longer by default, so that is the least.
    interval
        Samples between evaluations; the budget is a whole number of them, and one more, which
        confirms a target that is reached at the very end.
    """
    median = statistics.median(samples_to_target)
    if not math.isfinite(median):
        median = samples_per_pass
    return in_intervals(max(factor * median, samples_per_pass), interval) + interval


def in_intervals(samples: float, interval: int) -> int:
    """So many samples, rounded up to whole evaluation intervals."""
    return math.ceil(samples / interval) * interval
