"""The median stopping rule: which values a hopeless run of a search has not reached.

A run is stopped where its best value so far is worse than the median, over the runs that have
ended, of the mean of their values up to the same samples (Golovin et al. 2017, *Google Vizier: A
Service for Black-Box Optimization*, section 3.2). Two differences: only runs of earlier rounds are
compared with, so that the result does not depend on how many runs are trained at a time; and no run
is stopped in the first quarter of its budget, or before three runs can be compared with.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TypeAlias

__all__ = ["MEDIAN_RULE", "Bar", "bar_at", "median_bar"]

# Samples, rising, and from there on the value that a run must have reached by then.
Bar: TypeAlias = tuple[tuple[int, float], ...]

GRACE = 0.25
FEWEST_RUNS = 3
MEDIAN_RULE = (
    "median rule: the grid is tried in two rounds, every other rate first; a run is stopped at an "
    f"evaluation, from {GRACE:g} of its budget on, where its best value so far is worse than the "
    "median, over the runs of the search's earlier rounds, of the mean of their values up to there "
    f"(at least {FEWEST_RUNS} runs); it counts as a miss; report runs are never stopped"
)


def median_bar(curves: Sequence[Sequence[tuple[int, float | None]]], budget: int) -> Bar:
    """The value that a run must have reached at each count of samples.

    Parameters
    ----------
    curves
        Samples, rising, and values of each run that has ended; None where it has none.
    budget
        The most samples of the run that is judged.

    Returns
    -------
    Empty if too few runs have values.
    """
    made = []
    for at in sorted({samples for curve in curves for samples, _ in curve}):
        if at < GRACE * budget:
            continue
        means = []
        for curve in curves:
            values = [value for samples, value in curve if samples <= at and value is not None]
            means += [statistics.fmean(values)] if values else []
        if len(means) >= FEWEST_RUNS:
            made.append((at, statistics.median(means)))
    return tuple(made)


def bar_at(bar: Bar, samples: int) -> float | None:
    """What a run must have reached after so many samples; None: nothing yet."""
    passed = [value for at, value in bar if at <= samples]
    return passed[-1] if passed else None
