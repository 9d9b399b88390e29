"""The Kaplan-Meier curve: the share of runs that have not reached the target yet."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bsscale.stats.medians import checked
from bsscale.stats.ratios import checked_confidence

__all__ = ["KaplanMeier", "kaplan_meier"]


@dataclass(frozen=True)
class KaplanMeier:
    """A survival curve of one arm, and its median.

    Attributes
    ----------
    n, reached
        Runs, and how many of them reached the target.
    median, low, high
        Samples at which half of the runs have reached the target, with the interval; `math.inf`
        where the curve or its band does not come down to one half, 0 where there are too few runs
        (at 95%, fewer than 6) for a low end.
    confidence
        Of the interval.
    curve
        (samples, share of runs not yet there), a step down at each number of samples at which a
        run reached the target; numbers at which runs were cut off have their point too. It starts
        at (0, 1), unless a run was there at once.
    """

    n: int
    reached: int
    median: float
    low: float
    high: float
    confidence: float
    curve: tuple[tuple[float, float], ...]


def kaplan_meier(
    samples: Sequence[float], reached: Sequence[bool], confidence: float = 0.95
) -> KaplanMeier:
    r"""Estimate the share of runs that are not there yet after so many samples, and the median.

    Parameters
    ----------
    samples
        One a run, finite and >= 0: samples-to-target, or the budget where the run did not reach it.
    reached
        One a run: whether it reached the target.
    confidence
        Of the median's interval, within (0, 1).

    Raises
    ------
    ValueError
        If there are no runs, the lengths differ, a number of samples is not finite and >= 0, or
        `confidence` is not within (0, 1).

    Notes
    -----
    The curve is :math:`S(t) = \prod_{t_i \le t} (1 - d_i / n_i)`, with :math:`d_i` of the
    :math:`n_i` runs still under way reaching the target at :math:`t_i`. The median is where it
    falls below one half; where it equals one half for a while, the middle of that while, so that
    without cut-off runs it is the usual median.

    The interval (Brookmeyer and Crowley) holds the samples at which the pointwise band of the curve
    holds one half. The band is Greenwood's on the scale of :math:`\log(-\log S)`, which stays in
    [0, 1] and covers better with few runs (Borgan and Liestøl). It has no value where the curve is
    1 or 0: there it is the exact binomial one of none of the runs, or of all that reached
    (Clopper and Pearson), :math:`(\alpha/2)^{1/n}` and :math:`1 - (\alpha/2)^{1/n}`. So the median
    of 5 runs has no 95% interval with two ends, and that of 6 has.

    References
    ----------
    E. L. Kaplan, P. Meier, "Nonparametric estimation from incomplete observations", 1958.
    R. Brookmeyer, J. Crowley, "A confidence interval for the median survival time", 1982.
    Ø. Borgan, K. Liestøl, "A note on confidence intervals and bands for the survival function based
    on transformations", 1990.
    """
    from scipy.stats import CensoredData, ecdf

    checked_confidence(confidence)
    checked(samples)
    times, there = np.asarray(samples, dtype=np.float64), np.asarray(reached, dtype=np.bool_)
    if times.shape != there.shape:
        raise ValueError(f"there are {times.size} sample counts and {there.size} marks of reached")
    if not np.isfinite(times).all():
        raise ValueError("a number of samples is infinite; give the budget where not reached")

    survival = ecdf(CensoredData(uncensored=times[there], right=times[~there])).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # (no band where the curve is 0 or 1)
        band: Any = survival.confidence_interval(confidence, method="log-log")
    at = survival.quantiles
    share = np.clip(survival.probabilities, 0.0, 1.0)
    tail, count = (1 - confidence) / 2, int(there.sum())
    low_end, high_end = band.low.probabilities.copy(), band.high.probabilities.copy()
    low_end[share == 1], high_end[share == 1] = tail ** (1 / len(times)), 1.0
    low_end[share == 0], high_end[share == 0] = 0.0, 1 - tail ** (1 / max(count, 1))
    if at[0] > 0:
        at, share = np.insert(at, 0, 0.0), np.insert(share, 0, 1.0)
        low_end = np.insert(low_end, 0, tail ** (1 / len(times)))
        high_end = np.insert(high_end, 0, 1.0)
    return KaplanMeier(
        n=len(times),
        reached=count,
        median=(_first(at, share <= _HALF) + _first(at, share < 1 - _HALF)) / 2,
        low=_first(at, low_end <= 0.5),
        high=_first(at, high_end <= 0.5),
        confidence=confidence,
        curve=tuple((float(x), float(y)) for x, y in zip(at, share, strict=True)),
    )


# Rounding can move a share of exactly one half.
_HALF = 0.5 + 1e-9


def _first(samples: NDArray[Any], where: ArrayLike) -> float:
    found = np.flatnonzero(where)
    return float(samples[found[0]]) if found.size else math.inf
