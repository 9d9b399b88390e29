"""The ratio of two arms' medians over paired seeds, and an interval for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bsscale.stats.bootstrap import (
    Floats,
    both_sides,
    drawn_medians,
    expanded,
    median_ratios,
    paired,
)
from bsscale.stats.medians import censored_median, ratio

__all__ = [
    "FEWEST_SEEDS",
    "RatioDraws",
    "RatioEstimate",
    "checked_confidence",
    "fewest_seeds",
    "paired_ratio",
    "ratio_range",
]

FEWEST_SEEDS = 6
"""For an interval at up to 96%."""


@dataclass(frozen=True)
class RatioEstimate:
    """The ratio of an arm's samples to the baseline's.

    Attributes
    ----------
    n
        Pairs: seeds that both have.
    ratio
        The arm's censored median over the baseline's, of the pairs: `math.inf` where only the
        arm's is censored, 0 where only the baseline's is, `math.nan` where both are.
    low, high
        The interval; 0 and `math.inf` where it has no end. With fewer than `fewest_seeds` pairs the
        lowest and the highest ratio of one pair, which is a range and no interval.
    confidence
        Of the interval; None where `low` and `high` are a range.
    comparisons
        How many intervals hold together with this confidence; 1 for an interval on its own.
    arm_reached, arm_runs
        Of all the arm's runs, paired or not.
    baseline_reached
        Of the n baseline runs that are paired.
    """

    n: int
    ratio: float
    low: float
    high: float
    confidence: float | None
    arm_reached: int
    arm_runs: int
    baseline_reached: int
    comparisons: int = 1

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves out 1."""
        return self.confidence is not None and (self.low > 1 or self.high < 1)

    def within(self, margin: float) -> bool:
        """Whether the interval lies within 1 / (1 + margin) and 1 + margin."""
        return (
            self.confidence is not None and 1 / (1 + margin) <= self.low and self.high <= 1 + margin
        )


def paired_ratio(
    arm: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    confidence: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> RatioEstimate:
    """Estimate how many times the baseline's samples an arm needs, from runs paired by their seed.

    Parameters
    ----------
    arm, baseline
        From seed to samples-to-target, >= 0; `math.inf` for a censored run. Runs of the same seed
        started alike; only seeds that both have are compared.
    confidence
        Of the interval, within (0, 1).
    resamples
        Of the bootstrap.
    seed
        Of the bootstrap; the result follows from the arguments alone.

    Raises
    ------
    ValueError
        If they share no seed, a value is NaN or negative, `confidence` is not within (0, 1) or
        there are no resamples.

    Notes
    -----
    The interval is a percentile bootstrap over seeds, with Student's t in place of the normal
    distribution: seeds are drawn with replacement, a seed brings both of its runs, and each draw
    gives the ratio of the two censored medians. The ends are the quantiles of these ratios at
    Φ(∓t), t the quantile of Student's t with n - 1 degrees of freedom: 0.5% and 99.5% instead of
    2.5% and 97.5% for 6 seeds, 1.2% and 98.8% for 10. (Hesterberg's "expanded percentile" without
    its further factor √(n/(n - 1)), which for medians widens what is wide enough.) A censored run
    is infinite in every draw. A draw where both medians are censored could be any ratio: it counts
    as 0 for the low end and as infinite for the high one. Ends are order statistics, never
    interpolated, so a slower run in the arm never lowers one, and exchanging the arms inverts them.

    It was chosen among eight by simulation (log-normal samples, 6 to 30 seeds, correlation 0 and
    0.7 within a seed, none or 30% of the runs of one or both arms censored; 1,500 studies each).
    The plain percentile covered the truth as rarely as 91.9% of the time (6 seeds, one arm
    censored), the basic bootstrap on logs 72%, the sign and signed-rank intervals of single pairs'
    ratios 83% and 53% where one arm was censored: they estimate another quantity. The chosen
    interval covered the true ratio 94.2% to 99.7%: too often rather than too rarely, most where
    seeds correlate or runs of both arms are censored. BCa was not tried: its acceleration is a
    jackknife of medians, which does not converge, and it has no value where runs are infinite. With
    30% of the runs censored, most intervals of up to 20 seeds have no upper end, because such runs
    do not bound the ratio. ``tests/benchmarks/simulate_statistics.py`` measures all this again.

    References
    ----------
    T. C. Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69,
    2015. R. R. Wilcox, "Introduction to Robust Estimation and Hypothesis Testing", 2012 (percentile
    bootstrap for medians).
    """
    if resamples < 1:
        raise ValueError(f"there are {resamples} resamples; give 1 or more")
    pairs = paired(arm, baseline)
    if pairs.shape[1] < fewest_seeds(confidence):
        return ratio_range(arm, pairs)
    medians = drawn_medians(pairs, resamples, seed)
    return RatioDraws(arm, pairs, medians).estimate(confidence)


class RatioDraws:
    """The ratios of two arms' medians over draws of seeds: intervals of any confidence.

    Parameters
    ----------
    arm
        All runs of the arm.
    pairs
        Samples of the arm and the baseline at the seeds that they share, shape (2, n).
    medians
        Of both over the same draws, shape (2, resamples).
    """

    def __init__(self, arm: Mapping[int, float], pairs: Floats, medians: Floats) -> None:
        self.arm, self.pairs = arm, pairs
        self.lows, self.highs = both_sides(median_ratios(medians[0], medians[1]))

    def estimate(self, confidence: float) -> RatioEstimate:
        """The ratio with an interval on its own."""
        resamples = len(self.lows)
        tail = expanded((1 - confidence) / 2, self.pairs.shape[1])
        place = max(math.floor(tail * (resamples + 1)), 1)
        low = float(np.partition(self.lows, place - 1)[place - 1])
        high = float(np.partition(self.highs, -place)[-place])
        return _estimate(self.arm, self.pairs, low, high, confidence)


def ratio_range(arm: Mapping[int, float], pairs: Floats) -> RatioEstimate:
    """The ratio with the range of the ratios of single pairs, instead of an interval."""
    lows, highs = both_sides(median_ratios(pairs[0], pairs[1]))
    return _estimate(arm, pairs, float(lows.min()), float(highs.max()), None)


def _estimate(
    arm: Mapping[int, float], pairs: Floats, low: float, high: float, confidence: float | None
) -> RatioEstimate:
    return RatioEstimate(
        n=pairs.shape[1],
        ratio=ratio(censored_median(pairs[0]), censored_median(pairs[1])),
        low=low,
        high=high,
        confidence=confidence,
        arm_reached=sum(map(math.isfinite, arm.values())),
        arm_runs=len(arm),
        baseline_reached=int(np.isfinite(pairs[1]).sum()),
    )


def fewest_seeds(confidence: float) -> int:
    """Pairs below which there is no interval: `FEWEST_SEEDS`, or more for more confidence.

    With probability 2**(1 - n), all n runs lie on one side of the true median, so their range
    misses it. No resampling can leave that range.

    Raises
    ------
    ValueError
        If `confidence` is not within (0, 1).
    """
    checked_confidence(confidence)
    return max(FEWEST_SEEDS, math.ceil(1 - math.log2(1 - confidence)))


def checked_confidence(confidence: float) -> None:
    """Raise ValueError unless a confidence lies within (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it lies within (0, 1)")
