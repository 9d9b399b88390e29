"""Medians, ranges and ratios over runs, the censored ones included."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Spread", "censored_median", "checked", "ratio", "spread"]


@dataclass(frozen=True)
class Spread:
    """Samples-to-target of one arm over its seeds.

    Attributes
    ----------
    n, reached
        Runs, and how many of them reached the target.
    median, low, high
        Median and range in samples; `math.inf` where that run is censored.
    """

    n: int
    reached: int
    median: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread:
    """Sum up the samples-to-target of one arm's runs.

    Parameters
    ----------
    values
        One a run, >= 0; `math.inf` for a censored run.

    Raises
    ------
    ValueError
        If there are none, or one is NaN or negative.
    """
    runs = checked(values)
    reached = sum(map(math.isfinite, runs))
    return Spread(len(runs), reached, statistics.median(runs), runs[0], runs[-1])


def censored_median(values: Iterable[float]) -> float:
    """Median over all runs, the censored ones included.

    It is finite if more than half of the runs reached the target, because the values of the other
    runs do not matter. `math.inf` otherwise: of an even number, both middle runs must have reached
    it. Takes and raises what `spread` does.
    """
    return statistics.median(checked(values))


def ratio(value: float, reference: float) -> float:
    """The ratio `value / reference` of two numbers of samples; both may be infinite.

    Returns
    -------
    float
        `math.inf` where only the value is censored, 0 where only the reference is; `math.nan` where
        both are censored, or both 0: nothing can be said.

    Raises
    ------
    ValueError
        If one is NaN or negative.
    """
    checked((value, reference))
    if reference == 0:
        return math.nan if value == 0 else math.inf
    return value / reference


def checked(values: Iterable[float]) -> list[float]:
    """The values in ascending order; takes and raises what `spread` does."""
    runs = sorted(float(value) for value in values)
    if not runs:
        raise ValueError("there are no runs to sum up")
    for value in runs:
        if not value >= 0:
            raise ValueError(f"samples-to-target is {value}; it is >= 0, and inf where not reached")
    return runs
