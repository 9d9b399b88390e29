"""The fit of ``samples(B) = Emin (1 + B / Bc)`` on a log scale, with its interval.

The interval is that of the profile likelihood. Simulation chose it
(``tests/benchmarks/simulate_scaling.py``): a bootstrap over seeds covers too rarely with few seeds,
does not exist for one run a batch, and sees no error that all seeds of a batch share (see `noise`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bsscale.critical_batch.curve import Curve, log_rise
from bsscale.critical_batch.likelihood import Deviance, Floats
from bsscale.critical_batch.noise import Noise, noise_of
from bsscale.critical_batch.points import Data
from bsscale.critical_batch.profile import best_of, ends_of, grid_of, profile

__all__ = ["Fit", "fit"]


@dataclass(frozen=True)
class Fit:
    """A fitted curve.

    Attributes
    ----------
    data
        What it was fitted to.
    curve
        The most likely one.
    interval
        Of Bc: 0 where the samples may be proportional to the batch, infinite where they may not
        depend on it.
    min_samples_interval
        Of Emin.
    noise
        The noise around it.
    inside
        Curves within the interval: logarithm of Bc, and the lowest and highest of Emin with it.
        Shape (3, curves).
    """

    data: Data
    curve: Curve
    interval: tuple[float, float]
    min_samples_interval: tuple[float, float]
    noise: Noise
    inside: Floats

    def band(self, batch: Sequence[float]) -> tuple[Floats, Floats]:
        """The lowest and the highest samples at batches, over the curves within the interval."""
        rise = log_rise(np.asarray(batch, dtype=np.float64), self.inside[0])
        low, high = (self.inside[row][:, None] + rise for row in (1, 2))
        return np.exp(low.min(axis=0)), np.exp(high.max(axis=0))

    def predicted(self, batch: Sequence[float], runs: int) -> tuple[Floats, Floats]:
        """The interval in which the mean of so many new runs lies at each batch (on a log scale).

        It is wider than the band: by the noise of those runs, and by the error that they share.
        """
        middle = np.log(self.curve.samples(batch))
        noise = self.noise
        half = noise.critical * math.sqrt(noise.sigma**2 / runs + noise.between**2)
        low, high = (np.log(each) for each in self.band(batch))
        return (
            np.exp(middle - np.hypot(middle - low, half)),
            np.exp(middle + np.hypot(high - middle, half)),
        )


def fit(data: Data, shared: Floats | None = None) -> Fit:
    """Fit the curve.

    Parameters
    ----------
    data
        Runs at two batches or more that reached the target.
    shared
        For each batch, the variance of the error that its seeds share, as far as it is known: that
        of the choice of its rate. None: not known.

    Raises
    ------
    ValueError
        If fewer than two batches have a run that reached the target.
    """
    known = int((data.reached > 0).sum())
    if known < 2:
        raise ValueError(f"{known} batches have runs that reached the target; a curve needs 2")
    noise = noise_of(data, np.zeros(len(data.batch)) if shared is None else shared)
    each = noise.sigma**2 / np.maximum(data.counts, 1)
    deviance = Deviance(data, noise.sigma, each / (each + noise.shared))
    grid = grid_of(data)
    best = best_of(deviance, grid)
    level, least = profile(deviance, np.array([best]))
    most = float(least[0]) + noise.critical**2
    low, high = ends_of(deviance, grid, best, most)
    logs = np.linspace(low, high, 201)
    rise = log_rise(data.batch, logs)
    levels = deviance.best_level(rise)
    whole = np.maximum(most, deviance.of(levels, rise))  # (rounding at both ends)
    lowest, highest = deviance.level_ends(levels, rise, whole)
    # At an end of the grid, the curve is flat or proportional to the batch.
    flat, proportional = high >= grid[-1], low <= grid[0]
    return Fit(
        data=data,
        curve=Curve(math.exp(level[0]), math.exp(best)),
        interval=(0.0 if proportional else math.exp(low), math.inf if flat else math.exp(high)),
        min_samples_interval=(
            0.0 if proportional else float(np.exp(lowest.min())),
            float(np.exp(highest.max())),
        ),
        noise=noise,
        inside=np.stack([logs, lowest, highest]),
    )
