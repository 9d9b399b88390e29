"""The curve of samples over batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Curve", "log_rise"]


@dataclass(frozen=True)
class Curve:
    """``samples(B) = min_samples (1 + B / critical_batch)``.

    Attributes
    ----------
    min_samples
        Samples to the target at a batch far below the critical one, in the unit of the points.
    critical_batch
        The batch at which the target costs twice that, in samples of a batch.
    """

    min_samples: float
    critical_batch: float

    @property
    def min_steps(self) -> float:
        """Updates to the target at a batch far above the critical one (samples over batch)."""
        return self.min_samples / self.critical_batch

    def samples(self, batch: ArrayLike) -> NDArray[np.float64]:
        """Samples to the target at batches."""
        return self.min_samples * (1 + np.asarray(batch, dtype=np.float64) / self.critical_batch)

    def batch_at(self, more: float) -> float:
        """The batch at which the target costs so many more samples: 0.2 is 20% more than the least.

        Raises
        ------
        ValueError
            If it is not more.
        """
        if not more > 0:
            raise ValueError(f"{more} is not more: give a share above 0")
        return more * self.critical_batch


def log_rise(
    batch: NDArray[np.float64], log_critical: ArrayLike, exponent: float = 1.0
) -> NDArray[np.float64]:
    """``log(1 + (B / Bc)^exponent)``.

    Parameters
    ----------
    batch
        Shape (batches,).
    log_critical
        Logarithms of Bc, shape (grid,) or a number.

    Returns
    -------
    array
        Shape (grid, batches).
    """
    distance = np.log(batch) - np.atleast_1d(np.asarray(log_critical, dtype=np.float64))[:, None]
    rise: NDArray[np.float64] = np.logaddexp(0.0, exponent * distance)
    return rise
