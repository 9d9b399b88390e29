"""Predictions of larger batches from smaller ones, and how they are scored."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bsscale.critical_batch.identify import FEWEST_BATCHES, scaling
from bsscale.critical_batch.points import Point

__all__ = ["SHARE", "Scored", "predict", "score", "smaller"]

# Predictions come from batches up to this share of the largest.
SHARE = 0.25


@dataclass(frozen=True)
class Scored:
    """A prediction, and what came of it.

    Attributes
    ----------
    batch
        Of what.
    low, predicted, high
        Samples to the target, with the 95% interval of the mean over the runs on a log scale.
    measured
        That mean, if all runs reached the target; else their median, infinite for a miss.
    """

    batch: float
    low: float
    predicted: float
    high: float
    measured: float

    @property
    def covered(self) -> bool:
        """Whether the interval holds what was measured."""
        return self.low <= self.measured <= self.high

    @property
    def error(self) -> float:
        """How far the prediction is off: 0.1 is 10%, either way; infinite for a miss."""
        return math.expm1(abs(math.log(self.predicted) - math.log(self.measured)))


def smaller(batches: Sequence[float]) -> list[float]:
    """The batches that predict the others; all of them where these are too few for a curve."""
    found = [batch for batch in batches if batch <= SHARE * max(batches)]
    return found if len(found) >= FEWEST_BATCHES else list(batches)


def predict(
    points: Sequence[Point], batches: Sequence[float], runs: int
) -> list[tuple[float, float, float, float]]:
    """Predict so many runs at each of some batches.

    Parameters
    ----------
    points
        Of the smaller batches.
    batches, runs
        Of what is predicted.

    Returns
    -------
    For each batch: the batch, the low end, the prediction and the high end. Nothing where the
    points carry no curve.
    """
    found = scaling(points).fit
    if found is None:
        return []
    low, high = found.predicted(batches, runs)
    middle = found.curve.samples(batches)
    return [
        (float(batch), float(least), float(each), float(most))
        for batch, least, each, most in zip(batches, low, middle, high, strict=True)
    ]


def score(predictions: Sequence[Sequence[float]], points: Sequence[Point]) -> list[Scored]:
    """Compare predictions with the points of the batches that they are about."""
    by_batch: Mapping[float, list[float | None]] = {
        float(batch): [point.samples for point in points if point.batch == batch]
        for batch, *_ in predictions
    }
    return [
        Scored(batch, low, middle, high, _measured(by_batch[batch]))
        for batch, low, middle, high in predictions
        if by_batch[batch]
    ]


def _measured(runs: Sequence[float | None]) -> float:
    reached = [run for run in runs if run is not None]
    if len(reached) == len(runs):
        return math.exp(statistics.fmean(map(math.log, reached)))
    return statistics.median(math.inf if run is None else run for run in runs)
