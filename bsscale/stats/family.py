"""Several arms compared with one baseline: intervals that hold together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bsscale.stats.bootstrap import Floats, drawn_medians, paired
from bsscale.stats.ratios import (
    RatioDraws,
    RatioEstimate,
    checked_confidence,
    fewest_seeds,
    ratio_range,
)

__all__ = ["FAMILY_RULE", "Family", "compare_family"]

FAMILY_RULE = (
    "the primary arm has an interval of its own; the intervals of the other arms hold together: "
    "equal ranks of the bootstrap draws that all arms share"
)

RESAMPLES, SEED = 4000, 0  # of the bootstrap, as in `paired_ratio`


@dataclass(frozen=True)
class Family:
    """Every arm's interval against the baseline, on its own and together with the others.

    Attributes
    ----------
    own
        For each arm, the interval on its own.
    together
        For each arm, the interval that holds together with those of the others; None where there
        are too few seeds for so many comparisons. For a single arm the same as `own`.
    primary
        The registered primary arm, or None.
    confidence
        Of both.
    each
        Confidence that each of `together` has on its own; None where there are none.
    """

    own: Mapping[str, RatioEstimate]
    together: Mapping[str, RatioEstimate] | None
    primary: str | None
    confidence: float
    each: float | None

    @property
    def judged(self) -> Mapping[str, RatioEstimate]:
        """For each arm, the interval that its verdict rests on.

        The primary arm has its own. The others have the one that holds together, or their own where
        there is none: then the words have to say how many comparisons there are.
        """
        together = self.own if self.together is None else self.together
        return {arm: own if arm == self.primary else together[arm] for arm, own in self.own.items()}

    @property
    def each_alone(self) -> bool:
        """Whether there are several comparisons, and too few seeds for them together."""
        return self.together is None and len(self.own) > 1


def compare_family(
    arms: Mapping[str, Mapping[int, float]],
    baseline: Mapping[int, float],
    *,
    primary: str | None = None,
    confidence: float = 0.95,
) -> Family:
    """Compare several arms with one baseline.

    Parameters
    ----------
    arms
        For each arm, from seed to samples-to-target, >= 0; `math.inf` for a censored run. Each arm
        shares a seed with the baseline.
    baseline
        The same of the baseline.
    primary
        The arm that was registered as the one that the study is about, or None. It is one of the
        comparisons, but keeps its own interval.
    confidence
        Of each interval on its own, and of all of them together.

    Raises
    ------
    ValueError
        If an arm shares no seed with the baseline, a value is NaN or negative, or `confidence` is
        not within (0, 1).

    Notes
    -----
    All arms are drawn by the same draws of seeds. A draw lies outside if the ratio of any arm is
    beyond one of its two ends. The ends of all arms have the same rank from below and from above,
    the highest rank with which at most 1 - c of the draws lie outside: the simultaneous percentile
    intervals of Davison and Hinkley. Arms whose ratios go together, as they do because they share
    the baseline, so need less than Bonferroni's correction.

    Equal ratios keep the order in which they were drawn. So a draw with a censored median counts
    as one beyond the others, and a censored arm does not make the intervals narrower; an arm of
    which half of the runs or more are censored has a low end only. Where arms have different seeds,
    it is Bonferroni's correction.

    References
    ----------
    A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section 4.2.4.
    """
    checked_confidence(confidence)
    pairs = {arm: paired(runs, baseline) for arm, runs in arms.items()}
    draws = _draws(arms, baseline, pairs)
    enough = fewest_seeds(confidence)
    own = {
        arm: ratio_range(runs, pairs[arm])
        if pairs[arm].shape[1] < enough
        else draws[arm].estimate(confidence)
        for arm, runs in arms.items()
    }
    each = _each_confidence(arms, baseline, draws, confidence)
    together = None
    if each is not None:
        together = {
            arm: replace(draws[arm].estimate(each), confidence=confidence, comparisons=len(arms))
            for arm in arms
        }
    return Family(own, together, primary, confidence, each)


def _draws(
    arms: Mapping[str, Mapping[int, float]],
    baseline: Mapping[int, float],
    pairs: Mapping[str, Floats],
) -> dict[str, RatioDraws]:
    """Each arm's draws; arms with the same seeds have the same draws of seeds."""
    found, of_baseline = {}, {}
    for arm, runs in arms.items():
        seeds = frozenset(runs.keys() & baseline.keys())
        if seeds not in of_baseline:
            of_baseline[seeds] = drawn_medians(pairs[arm][1:], RESAMPLES, SEED)
        medians = drawn_medians(pairs[arm][:1], RESAMPLES, SEED)
        found[arm] = RatioDraws(runs, pairs[arm], np.vstack([medians, of_baseline[seeds]]))
    return found


def _each_confidence(
    arms: Mapping[str, Mapping[int, float]],
    baseline: Mapping[int, float],
    draws: Mapping[str, RatioDraws],
    confidence: float,
) -> float | None:
    """The confidence that each interval needs; None where the seeds are too few."""
    if not arms:
        return None
    outside = 1 - confidence
    bonferroni = outside / len(arms)
    if min(each.pairs.shape[1] for each in draws.values()) < fewest_seeds(1 - bonferroni):
        return None
    if len(arms) == 1:
        return confidence
    if len({frozenset(runs.keys() & baseline.keys()) for runs in arms.values()}) > 1:
        return 1 - bonferroni
    lows = np.array([each.lows for each in draws.values()])
    highs = np.array([each.highs for each in draws.values()])
    rank = int(np.sort(_depth(lows, highs))[math.floor(outside * RESAMPLES)])
    return 1 - min(max(2 * rank / (RESAMPLES + 1), bonferroni), outside)


def _depth(lows: Floats, highs: Floats) -> Floats:
    """How far each draw is from the ends of its most extreme arm, in ranks from 1.

    Both have shape (arms, draws): ratios as they count for low ends, and for high ends.
    """
    from_below = _ranks(lows)
    from_above = lows.shape[1] + 1 - _ranks(highs)
    depth: Floats = np.minimum(from_below, from_above).min(axis=0)
    return depth


def _ranks(values: Floats) -> Floats:
    """Ranks from 1 along the last axis; equal values have different ranks, in their order."""
    order = np.argsort(values, axis=-1, kind="stable")
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, np.arange(1.0, values.shape[-1] + 1), axis=-1)
    return ranks
