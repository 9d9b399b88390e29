"""The budget of a study, which follows from its first runs, at 1 GPU."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

__all__ = ["budget_samples", "in_intervals"]


def budget_samples(
    samples_to_target: Sequence[float], factor: float, samples_per_pass: int, interval: int
) -> int:
    """The budget of a run in samples: enough for an arm that is several times slower.

    Parameters
    ----------
    samples_to_target
        Of each run at 1 GPU; infinite if it did not reach the target. If the median is infinite,
        one pass is used instead.
    factor
        The largest multiple of the median that an arm may take.
    samples_per_pass
        Training samples in one pass. This is the minimum budget, because no schedule is longer by
        default.
    interval
        Samples between evaluations; the budget is a whole number of intervals, plus one that can
        confirm a hit at the end.
    """
    median = statistics.median(samples_to_target)
    if not math.isfinite(median):
        median = samples_per_pass
    return in_intervals(max(factor * median, samples_per_pass), interval) + interval


def in_intervals(samples: float, interval: int) -> int:
    """`samples` rounded up to a whole number of evaluation intervals."""
    return math.ceil(samples / interval) * interval
