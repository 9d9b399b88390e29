"""The crossing at which a curve of evaluations reaches its target."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from bsscale.errors import MetricError
from bsscale.objectives.metric import Criterion, Direction

__all__ = ["Crossing", "crossing"]


@dataclass(frozen=True)
class Crossing:
    """The crossing at which a curve of evaluations reaches its target.

    Attributes
    ----------
    interval
        Samples seen at the last evaluation that missed the target, and at the first confirmed one
        that reached it; the truth lies between.
    samples
        The metric interpolated linearly within the interval.
    """

    interval: tuple[int, int]
    samples: float


def crossing(
    samples: Sequence[int],
    values: Sequence[float | None],
    target: float,
    direction: Direction = "max",
    *,
    ended_itself: bool = False,
) -> Crossing | None:
    """The crossing at the first evaluation at the target that the next one confirms.

    One evaluation at the target may be luck, so a hit counts when the next evaluation confirms
    it; the crossing is still at the first of the two.

    Parameters
    ----------
    samples
        Samples seen at each evaluation, increasing.
    values
        The metric of each; None or NaN (a run that has diverged) counts as a miss.
    target
        The value to reach; equal counts as reached.
    direction
        Whether higher values of the metric are better (max) or lower ones (min).
    ended_itself
        Whether the training ended by a rule of its own, as that of a script or of an imported curve
        does: it may have stopped at its first hit, so a hit at the last evaluation counts.

    Returns
    -------
    Crossing or None
        None if the target was not reached, or only at the last evaluation, unconfirmed. The
        interval of a hit at the first evaluation begins at 0 samples. After a miss without a value,
        or none, there is nothing to interpolate from, and `samples` is that of the hit.

    Raises
    ------
    MetricError
        If the lengths differ, or the samples do not increase.
    """
    if len(samples) != len(values):
        raise MetricError(
            f"there are {len(samples)} sample counts and {len(values)} values",
            "give one of each for every evaluation",
        )
    for before, after in itertools.pairwise(samples):
        if after <= before:
            raise MetricError(
                f"sample counts must increase, but {after} follows {before}",
                "give the evaluations in the order in which they were made, each once",
            )
    criterion = Criterion("", direction)
    hits = [criterion.reaches(value, target) for value in values]
    for i, confirmed in enumerate(itertools.pairwise(hits)):
        if all(confirmed):
            return _interpolate(samples, values, target, i)
    if ended_itself and hits and hits[-1]:
        return _interpolate(samples, values, target, len(hits) - 1)
    return None


def _interpolate(
    samples: Sequence[int], values: Sequence[float | None], target: float, hit: int
) -> Crossing:
    high = samples[hit]
    if hit == 0:
        return Crossing((0, high), float(high))
    low, missed, reached = samples[hit - 1], values[hit - 1], values[hit]
    # (`reached` is never None: it is at the target.)
    if missed is None or reached is None or not math.isfinite(missed):
        return Crossing((low, high), float(high))
    # Compute the fraction first: it cannot round to more than 1, so the result stays in the
    # interval.
    share = (target - missed) / (reached - missed)
    return Crossing((low, high), low + (high - low) * share)
