"""The fastest of several arms: its ratio without the luck of being chosen, and its lead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsscale.stats.bootstrap import Floats, median_ratios, paired
from bsscale.stats.medians import censored_median, ratio
from bsscale.stats.ratios import FEWEST_SEEDS, RatioEstimate, paired_ratio

__all__ = ["Winner", "fastest"]


@dataclass(frozen=True)
class Winner:
    """The fastest of several arms.

    Attributes
    ----------
    arm, among
        Its name, and the number of arms that it was chosen from.
    corrected
        Its ratio to the baseline, corrected for its choice: the fastest of several is partly the
        luckiest. None where there is no choice, too few seeds, or no seed that all arms have.
    runner_up
        The second-fastest; None where there is none.
    lead
        The ratio of the winner to the runner-up; None where they share no seed.
    """

    arm: str
    among: int
    corrected: float | None
    runner_up: str | None
    lead: RatioEstimate | None


def fastest(
    arms: Mapping[str, Mapping[int, float]],
    baseline: Mapping[int, float],
    *,
    confidence: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> Winner | None:
    """Choose the fastest of several arms.

    Parameters
    ----------
    arms, baseline
        From seed to samples-to-target, as in `compare_family`.
    confidence
        Of the interval of the lead.
    resamples, seed
        Of the bootstrap.

    Returns
    -------
    Winner or None
        The arm with the lowest ratio of medians to the baseline; of equals, the one with the lower
        median, then the one that comes first. None if no arm reached the target in more than half
        of its runs.

    Raises
    ------
    ValueError
        If an arm shares no seed with the baseline, or a value is NaN or negative.

    Notes
    -----
    The corrected ratio chooses the fastest arm in a draw of seeds, and measures its ratio on the
    seeds that were not drawn; it is the median over draws. The choice then cannot follow the luck
    of the seeds that judge it (bootstrap bias-corrected cross-validation). It is what the choice of
    an arm by so many seeds gains, so where arms are close it lies a little above the ratio of the
    best one. It is never below the uncorrected ratio, because a choice can only flatter.

    The lead is the interval of the pair on its own. It calls the winner faster than the runner-up
    no more often than for two arms that were named in advance: the error is largest where two arms
    are the best and equal, and all others are far behind (Gutmann and Maymin; Hung and Fithian).

    References
    ----------
    I. Tsamardinos, E. Greasidou, G. Borboudakis, "Bootstrapping the out-of-sample predictions for
    efficient and accurate cross-validation", Machine Learning 107, 2018. S. Gutmann, Z. Maymin, "Is
    the selected population the best?", Annals of Statistics 15, 1987. K. Hung, W. Fithian, "Rank
    verification for exponential families", Annals of Statistics 47, 2019.
    """
    medians = {arm: censored_median(runs.values()) for arm, runs in arms.items()}
    ranked = sorted(
        (arm for arm in arms if math.isfinite(medians[arm])),
        key=lambda arm: (_ratio(paired(arms[arm], baseline)), medians[arm]),
    )
    if not ranked:
        return None
    winner, second = ranked[0], ranked[1] if len(ranked) > 1 else None
    lead = None
    if second is not None and arms[winner].keys() & arms[second].keys():
        lead = paired_ratio(arms[winner], arms[second], confidence=confidence)
    corrected = None
    if len(arms) > 1 and len(set(baseline).intersection(*arms.values())) >= FEWEST_SEEDS:
        corrected = _corrected(paired(baseline, *arms.values()), resamples, seed)
        corrected = max(corrected, _ratio(paired(arms[winner], baseline)))
    return Winner(winner, len(arms), corrected, second, lead)


def _ratio(pairs: Floats) -> float:
    value = ratio(censored_median(pairs[0]), censored_median(pairs[1]))
    return math.inf if math.isnan(value) else value


def _corrected(samples: Floats, resamples: int, seed: int) -> float:
    """The ratio on seeds that were not drawn, of the arm that is the fastest on those drawn.

    `samples` has shape (1 + arms, n), the baseline first.
    """
    n = samples.shape[1]
    draws = np.random.default_rng(seed).integers(0, n, (resamples, n), dtype=np.uint32)
    counts = np.zeros((resamples, n), dtype=np.int64)
    np.add.at(counts, (np.arange(resamples)[:, None], draws), 1)
    rest = (counts == 0).astype(np.int64)
    keep = rest.any(axis=1)
    chosen = _weighted_medians(samples[1:], counts[keep]).argmin(axis=0)
    medians = _weighted_medians(samples, rest[keep])
    ratios = median_ratios(medians[1 + chosen, np.arange(len(chosen))], medians[0])
    return float(np.median(np.where(np.isnan(ratios), math.inf, ratios)))


def _weighted_medians(samples: Floats, counts: NDArray[np.int64]) -> Floats:
    """Medians of each arm, with each seed as often as `counts` says.

    Shapes (arms, n), (draws, n) -> (arms, draws); every draw has a seed.
    """
    middles = []
    total = counts.sum(axis=1)[:, None]
    for arm in samples:
        order = np.argsort(arm)
        upto = counts[:, order].cumsum(axis=1)
        low = (upto >= (total + 1) // 2).argmax(axis=1)
        high = (upto >= total // 2 + 1).argmax(axis=1)
        middles.append((arm[order[low]] + arm[order[high]]) / 2)
    return np.array(middles)
