"""The number of seeds that it takes to distinguish two arms, or to call them equally fast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsscale.stats.bootstrap import paired
from bsscale.stats.medians import censored_median, ratio
from bsscale.stats.ratios import RatioEstimate, fewest_seeds

__all__ = ["required_seeds", "seeds_for_equivalence", "smallest_margin"]


def required_seeds(
    a: Mapping[int, float],
    b: Mapping[int, float],
    *,
    confidence: float = 0.95,
    power: float = 0.8,
    most: int = 1000,
) -> int | None:
    r"""Seeds that would distinguish two arms, if their true ratio and spread are the observed ones.

    Parameters
    ----------
    a, b
        From seed to samples-to-target, >= 0; `math.inf` for a censored run. Only seeds that both
        have are used.
    confidence
        Of the interval that is to leave out 1, within (0, 1).
    power
        Chance with which it is to do so, within (0, 1).
    most
        Above this number of seeds, the result is None.

    Returns
    -------
    int or None
        At least 6 (`FEWEST_SEEDS`). None where it cannot be said (the medians are equal, one is
        censored or 0, or fewer than 3 seeds are shared), or where it is more than `most`. From few
        seeds it is rough: the ratio and the spread are themselves estimates.

    Raises
    ------
    ValueError
        If they share no seed, a value is NaN or negative, or `confidence` or `power` is not within
        (0, 1).

    Notes
    -----
    The smallest n with

    .. math:: n \ge \frac{(t_{n-1} + z)^2}{\delta^2} \cdot
        \frac{\pi}{2} (\sigma_a^2 + \sigma_b^2 - 2 \tau \sigma_a \sigma_b)

    :math:`\delta` is the log of the ratio of medians, :math:`t` the two-sided quantile of Student's
    t at `confidence`, as in `paired_ratio`, and :math:`z` the normal quantile at `power`. The rest
    is the variance of the log ratio of medians for n = 1, when samples-to-target are log-normal: a
    median has :math:`\pi/2` times the variance of a mean, and two medians over the same seeds
    correlate by :math:`\frac2\pi \arcsin \rho`, which is Kendall's :math:`\tau`.

    A censored run is the worst in its arm: :math:`\tau` takes ranks, with ties between censored
    runs, and :math:`\sigma` is the slope of the logs that are finite over the normal scores of
    their ranks among all runs (regression on order statistics, with Blom's scores).

    References
    ----------
    G. Blom, "Statistical Estimates and Transformed Beta-Variables", 1958. D. R. Helsel,
    "Statistics for Censored Environmental Data", 2012 (regression on order statistics).
    """
    fewest = fewest_seeds(confidence)
    if not 0 < power < 1:
        raise ValueError(f"power is {power}; it lies within (0, 1)")
    pairs = paired(a, b)
    if pairs.shape[1] < 3:
        return None
    seen = ratio(censored_median(pairs[0]), censored_median(pairs[1]))
    if not 0 < seen < math.inf or seen == 1:
        return None
    return _enough(abs(math.log(seen)), _variance(pairs), confidence, power, fewest, most)


def seeds_for_equivalence(
    a: Mapping[int, float],
    b: Mapping[int, float],
    *,
    margin: float = 0.1,
    confidence: float = 0.95,
    power: float = 0.8,
    most: int = 1000,
) -> int | None:
    r"""Seeds with which two arms would be called equally fast, if their true ratio is 1.

    Parameters
    ----------
    a, b, confidence, power, most
        As in `required_seeds`. The spread is the observed one, the observed ratio is not used.
    margin
        The interval is to lie within 1 / (1 + margin) and 1 + margin; > 0.

    Returns
    -------
    int or None
        As in `required_seeds`.

    Raises
    ------
    ValueError
        As in `required_seeds`, or if the margin is not > 0.

    Notes
    -----
    The formula of `required_seeds`, with :math:`\delta = \log(1 + m)` and the normal quantile at
    :math:`(1 + power) / 2`, because both ends have to lie within (two one-sided tests).

    References
    ----------
    D. J. Schuirmann, "A comparison of the two one-sided tests procedure and the power approach",
    1987.
    """
    fewest = fewest_seeds(confidence)
    if not 0 < power < 1:
        raise ValueError(f"power is {power}; it lies within (0, 1)")
    if not margin > 0:
        raise ValueError(f"margin is {margin}; it is > 0")
    pairs = paired(a, b)
    medians = [censored_median(samples) for samples in pairs]
    if pairs.shape[1] < 3 or not all(0 < median < math.inf for median in medians):
        return None
    both = (1 + power) / 2
    return _enough(math.log1p(margin), _variance(pairs), confidence, both, fewest, most)


def smallest_margin(estimate: RatioEstimate) -> float | None:
    """The smallest margin at which an interval calls an arm as fast as its baseline.

    Returns
    -------
    float or None
        None where there is no interval, or it has an open end.
    """
    if estimate.confidence is None or estimate.low == 0 or math.isinf(estimate.high):
        return None
    return max(estimate.high, 1 / estimate.low, 1.0) - 1


def _variance(pairs: NDArray[Any]) -> float:
    """Variance of the log ratio of medians for one seed."""
    sigma_a, sigma_b = _log_sigma(pairs[0]), _log_sigma(pairs[1])
    tau = _kendall(pairs[0], pairs[1])
    return math.pi / 2 * (sigma_a**2 + sigma_b**2 - 2 * tau * sigma_a * sigma_b)


def _enough(
    distance: float, variance: float, confidence: float, power: float, fewest: int, most: int
) -> int | None:
    """The fewest seeds whose interval is so much shorter than the distance of two logs."""
    from scipy import special

    n = np.arange(fewest, most + 1)
    quantiles = special.stdtrit(n - 1, (1 + confidence) / 2) + special.ndtri(power)
    enough = n * distance**2 >= variance * np.maximum(quantiles, 0.0) ** 2
    return int(n[np.argmax(enough)]) if enough.any() else None


def _log_sigma(samples: NDArray[Any]) -> float:
    """Standard deviation of the logs; at least two runs are finite."""
    from scipy import special

    ranked = np.sort(samples)
    n = len(ranked)
    known = np.isfinite(ranked) & (ranked > 0)
    scores = special.ndtri((np.arange(1, n + 1) - 0.375) / (n + 0.25))[known]
    if len(scores) < 2:
        return 0.0
    away = scores - scores.mean()
    return float(away @ np.log(ranked[known]) / (away @ away))


def _kendall(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Kendall's tau (a): how much more often two seeds are in the same order in both arms."""
    n = len(a)
    # Comparisons instead of differences: two infinite runs are equal.
    order_a, order_b = ((x[:, None] > x).astype(int) - (x[:, None] < x) for x in (a, b))
    return float((order_a * order_b).sum()) / (n * (n - 1))
