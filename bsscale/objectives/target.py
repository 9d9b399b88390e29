"""Where a curve of evaluations reaches its target."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from bsscale.errors import MetricError

__all__ = ["Crossing", "crossing"]


@dataclass(frozen=True)
class Crossing:
    """Where a curve of evaluations reaches its target.

    Attributes
    ----------
    interval
        Samples seen at the last evaluation below the target, and at the first confirmed one at or
        above it; the truth lies between.
    samples
        The AUC interpolated linearly within the interval.
    """

    interval: tuple[int, int]
    samples: float


def crossing(samples: Sequence[int], auc: Sequence[float | None], target: float) -> Crossing | None:
    """Where the AUC first reaches the target and stays there for the next evaluation as well.

    One evaluation above the target may be luck, so a hit counts when the next evaluation confirms
    it; the crossing is still where the first of the two was.

    Parameters
    ----------
    samples
        Samples seen at each evaluation, increasing.
    auc
        The AUC of each; None or NaN (a run that has diverged) counts as a miss.
    target
        The AUC to reach; equal counts as reached.

    Returns
    -------
    Crossing or None
        None if the target was not reached, or only at the last evaluation, unconfirmed. A confirmed
        hit at the first evaluation has an interval of no length. After a miss without an AUC there
        is nothing to interpolate from, and `samples` is that of the hit.

    Raises
    ------
    MetricError
        If the lengths differ, or the samples do not increase.
    """
    if len(samples) != len(auc):
        raise MetricError(
            f"there are {len(samples)} sample counts and {len(auc)} AUC values",
            "give one of each for every evaluation",
        )
    for before, after in itertools.pairwise(samples):
        if after <= before:
            raise MetricError(
                f"sample counts must increase, but {after} follows {before}",
                "give the evaluations in the order in which they were made, each once",
            )
    hits = [value is not None and value >= target for value in auc]
    for i, confirmed in enumerate(itertools.pairwise(hits)):
        if all(confirmed):
            return _interpolate(samples, auc, target, i)
    return None


def _interpolate(
    samples: Sequence[int], auc: Sequence[float | None], target: float, hit: int
) -> Crossing:
    high = samples[hit]
    if hit == 0:
        return Crossing((high, high), float(high))
    low, miss_auc, hit_auc = samples[hit - 1], auc[hit - 1], auc[hit]
    # (`hit_auc` is never None: it reached the target.)
    if miss_auc is None or hit_auc is None or not math.isfinite(miss_auc):
        return Crossing((low, high), float(high))
    # The share first: it cannot round to above 1, so the result cannot leave the interval.
    share = (target - miss_auc) / (hit_auc - miss_auc)
    return Crossing((low, high), low + (high - low) * share)
