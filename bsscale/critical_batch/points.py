"""The points of a curve: what runs at several batches have cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Data", "Point", "as_data", "with_limits"]


@dataclass(frozen=True)
class Point:
    """One run.

    Attributes
    ----------
    batch
        Samples in an update, all replicas together; > 0.
    samples
        Samples to the target, in any unit; None where the run did not reach it (censored).
    budget
        The most samples of the run, in the same unit; None where it is not known.
    seed
        Of the run; None where it has none.
    """

    batch: float
    samples: float | None
    budget: float | None = None
    seed: int | None = None


def with_limits(points: Sequence[Point]) -> tuple[list[Point], int]:
    """The points of an arm, each censored one with the samples that it is known to exceed.

    A censored run without a budget exceeds the largest samples of its batch; where no run of its
    batch has reached the target, those of the arm. Where no run of the arm has, nothing is known.

    Returns
    -------
    points, filled
        The points in the order of their batches, and how many budgets were filled in.
    """
    at_batch: dict[float, float] = {}
    for point in points:
        if point.samples is not None:
            at_batch[point.batch] = max(point.samples, at_batch.get(point.batch, 0.0))
    of_arm = max(at_batch.values(), default=None)
    found, filled = [], 0
    for point in sorted(points, key=lambda each: each.batch):
        if point.samples is None and point.budget is None and of_arm is not None:
            limit = at_batch.get(point.batch, of_arm)
            found.append(replace(point, budget=limit))
            filled += 1
        else:
            found.append(point)
    return found, filled


@dataclass(frozen=True)
class Data:
    """Points as arrays, with one element for each run.

    Attributes
    ----------
    batch
        Batches, shape (batches,), ascending.
    group
        The number of each run's batch.
    y
        Logarithms of samples, or of the budget where the run is censored.
    censored
        Whether it is.
    """

    batch: NDArray[np.float64]
    group: NDArray[np.int64]
    y: NDArray[np.float64]
    censored: NDArray[np.bool_]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Runs at each batch."""
        return np.bincount(self.group, minlength=len(self.batch))

    @property
    def reached(self) -> NDArray[np.int64]:
        """Runs at each batch that reached the target."""
        return np.bincount(self.group, ~self.censored, minlength=len(self.batch)).astype(np.int64)


def as_data(points: Iterable[Point]) -> Data:
    """Arrays of the points; a censored run of which nothing is known is no inequality."""
    used = [p for p in points if p.samples is not None or p.budget is not None]
    batch, group = np.unique([float(p.batch) for p in used], return_inverse=True)
    numbers = [p.budget if p.samples is None else p.samples for p in used]
    return Data(
        batch=batch,
        group=group.astype(np.int64),
        y=np.log(np.array(numbers, dtype=np.float64)),
        censored=np.array([p.samples is None for p in used], dtype=np.bool_),
    )
