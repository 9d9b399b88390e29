"""The fit of ``samples(B) = Emin (1 + B / Bc)`` on a log scale, with its interval.

The interval is that of the profile likelihood, with a critical value of Student's t. Simulation
chose it (``tests/benchmarks/simulate_scaling.py``): a bootstrap over seeds covers too rarely with
few seeds, does not exist for one run a batch, and sees no error that all seeds of a batch share.
Such an error is there wherever the rate of a batch was chosen by tuning, or where the curve has
another form. It is estimated from the distance between the batches and the curve, and counts in
the interval as noise between batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from bsscale.critical_batch.curve import Curve, log_rise
from bsscale.critical_batch.likelihood import Deviance, Floats, groups_fit
from bsscale.critical_batch.points import Data
from bsscale.critical_batch.profile import LEAST_SIGMA, best_of, ends_of, grid_of, profile

__all__ = ["CONFIDENCE", "Fit", "fit", "student"]

CONFIDENCE = 0.95
# Degrees of freedom of a prior guess that batches share no error: few batches say little about it.
_PRIOR = 2.0


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
    sigma, between
        Standard deviations on the log scale: of the noise between seeds, and of the error that the
        seeds of a batch share.
    df
        Degrees of freedom of both together.
    inside
        Curves within the interval: logarithm of Bc, and the lowest and highest of Emin with it.
        Shape (3, curves).
    """

    data: Data
    curve: Curve
    interval: tuple[float, float]
    min_samples_interval: tuple[float, float]
    sigma: float
    between: float
    df: float
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
        half = student(self.df) * math.sqrt(self.sigma**2 / runs + self.between**2)
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
    sigma, between, df = _noise(data)
    variances = np.full(len(data.batch), between**2)
    if shared is not None:
        variances = np.maximum(variances, shared)
    deviance = _weighted(data, sigma, variances)
    grid = grid_of(data)
    best = best_of(deviance, grid)
    level, least = profile(deviance, np.array([best]))
    most = float(least[0]) + student(df) ** 2
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
        sigma=sigma,
        between=float(np.sqrt(variances.mean())),
        df=df,
        inside=np.stack([logs, lowest, highest]),
    )


def student(df: float) -> float:
    """The quantile of Student's t for a two-sided interval."""
    return float(special.stdtrit(df, 0.5 + CONFIDENCE / 2))


def _noise(data: Data) -> tuple[float, float, float]:
    """Sigma, the error that the seeds of a batch share, and the degrees of freedom."""
    batches = int((data.reached > 0).sum())
    levels, variance, df = groups_fit(data)
    grid, left = grid_of(data), batches - 2
    alone = np.ones(len(data.batch))
    if df == 0:
        # One run a batch: the distance from the curve is all noise.
        return _residual_noise(data, grid, left), 0.0, max(left, 1)
    sigma = max(math.sqrt(variance), LEAST_SIGMA)
    if left < 1:
        return sigma, 0.0, df
    deviance = Deviance(data, sigma, alone)
    known = np.isfinite(levels)
    own = deviance.of(np.zeros(1), np.where(known, levels, levels[known].max() + 1e3)[None, :])
    best = best_of(deviance, grid)
    misfit = max(float(profile(deviance, np.array([best]))[1][0] - own[0]), 0.0)
    # The variance of a batch's level over that of the seeds alone; a prior guess says 1.
    inflated = (misfit + _PRIOR) / (left + _PRIOR)
    each = sigma**2 / float(data.reached[known].mean())
    between = max(inflated - 1.0, 0.0) * each
    parts = each**2 / df + between**2 / (left + _PRIOR)
    return sigma, math.sqrt(between), (each + between) ** 2 / parts


def _residual_noise(data: Data, grid: Floats, df: int) -> float:
    """The noise around the curve, where no batch has several runs."""
    sigma = 0.1
    for _ in range(30):  # (it matters to the curve only where runs are censored)
        deviance = Deviance(data, sigma, np.ones(len(data.batch)))
        best = best_of(deviance, grid)
        rise = log_rise(data.batch, best)
        level = deviance.best_level(rise)[0]
        residual = (data.y - rise[0][data.group] - level)[~data.censored]
        found = max(math.sqrt(float((residual**2).sum()) / max(df, 1)), LEAST_SIGMA)
        done = abs(found - sigma) < 1e-6 * sigma
        sigma = found
        if done or not data.censored.any():
            break
    return sigma


def _weighted(data: Data, sigma: float, variances: Floats) -> Deviance:
    """The deviance where the seeds of a batch share an error of such variances."""
    each = sigma**2 / np.maximum(data.counts, 1)
    return Deviance(data, sigma, each / (each + variances))
