"""The likelihood of censored log-normal samples, for many curves at the same time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsscale.critical_batch.points import Data

__all__ = ["Deviance", "Floats", "groups_fit"]

Floats = NDArray[np.float64]
_STEPS = 60


@dataclass(frozen=True)
class Deviance:
    """Minus twice the log-likelihood of a level, given the rise of a curve above it.

    The noise is normal on the log scale. A run with weight w counts as w runs: those of one batch
    have an error in common, so that together they count for fewer.

    Attributes
    ----------
    data
        The runs.
    sigma
        Standard deviation of the noise, on the log scale.
    weights
        Of each batch, 0 to 1.
    """

    data: Data
    sigma: float
    weights: Floats

    def best_level(self, rise: Floats) -> Floats:
        """The level with the least deviance, for each curve.

        Parameters
        ----------
        rise
            Of each curve at each batch, shape (curves, batches).
        """
        data, w = self.data, self.weights[self.data.group]
        apart = data.y - rise[:, data.group]
        seen = ~data.censored
        level: Floats = (apart[:, seen] * w[seen]).sum(axis=1) / w[seen].sum()
        if seen.all():
            return level
        for _ in range(_STEPS):  # (Newton: the deviance is convex in the level)
            z = (apart - level[:, None]) / self.sigma
            hazard = _hazard(z[:, data.censored])
            zc = z[:, data.censored]
            slope = (w[seen] * z[:, seen]).sum(axis=1) + (w[data.censored] * hazard).sum(axis=1)
            curvature = w[seen].sum() + (w[data.censored] * hazard * (hazard - zc)).sum(axis=1)
            step = self.sigma * slope / curvature
            level = level + step
            if np.abs(step).max() < 1e-10:
                break
        return level

    def of(self, level: Floats, rise: Floats) -> Floats:
        """The deviance of each curve; constants that do not depend on it are left out."""
        data, w = self.data, self.weights[self.data.group]
        z = (data.y - rise[:, data.group] - level[:, None]) / self.sigma
        seen = ~data.censored
        found: Floats = (w[seen] * z[:, seen] ** 2).sum(axis=1)
        if not seen.all():
            from scipy import special

            found = found - 2 * (w[data.censored] * special.log_ndtr(-z[:, data.censored])).sum(
                axis=1
            )
        return found

    def level_ends(self, best: Floats, rise: Floats, most: Floats) -> tuple[Floats, Floats]:
        """The lowest and the highest level of each curve whose deviance is at most `most`.

        `most` is not below the deviance at the best level.
        """
        # The deviance is convex, and at least that of the runs that reached the target.
        seen = ~self.data.censored
        w = self.weights[self.data.group][seen].sum()
        width = self.sigma * np.sqrt(np.maximum(most, 0.0) / w)
        if seen.all():
            left = np.maximum(most - self.of(best, rise), 0.0)
            half = self.sigma * np.sqrt(left / w)
            return best - half, best + half
        ends = []
        for sign in (-1.0, 1.0):
            inside, outside = best, best + sign * (2 * width + 1.0)
            for _ in range(40):
                middle = (inside + outside) / 2
                within = self.of(middle, rise) <= most
                inside, outside = (
                    np.where(within, middle, inside),
                    np.where(within, outside, middle),
                )
            ends.append(inside)
        return ends[0], ends[1]


def groups_fit(data: Data) -> tuple[Floats, float, int]:
    """A level of each batch of its own, and the noise that they share.

    Returns
    -------
    levels, variance, df
        The level of each batch, infinite where all runs are censored; the variance of the noise
        around them, with its degrees of freedom (0: each batch has one run at most, and the
        variance is NaN).
    """
    reached, n = data.reached, len(data.batch)
    levels = np.full(n, math.inf)
    known = reached > 0
    seen = ~data.censored
    sums = np.bincount(data.group[seen], data.y[seen], minlength=n)
    levels[known] = sums[known] / reached[known]
    df = int(seen.sum() - known.sum())
    if df < 1:
        return levels, math.nan, 0
    squares = float(((data.y - levels[data.group])[seen] ** 2).sum())
    used = known[data.group]
    censored = data.censored & used
    if not censored.any() or squares == 0:
        return levels, squares / df, df
    # EM for the censored runs of batches that others have reached.
    variance = squares / df
    for _ in range(500):
        sigma = math.sqrt(variance)
        z = (data.y - levels[data.group])[censored] / sigma
        hazard = _hazard(z)
        values, spread = data.y.copy(), np.zeros(len(data.y))
        values[censored] = levels[data.group][censored] + sigma * hazard
        spread[censored] = variance * (1 + z * hazard - hazard**2)
        new = levels.copy()
        totals = np.bincount(data.group[used], values[used], minlength=n)
        new[known] = totals[known] / data.counts[known]
        residual = values[used] - new[data.group[used]]
        found = float((residual**2 + spread[used]).sum()) / int(used.sum())
        done = abs(found - variance) < 1e-9 * variance
        levels, variance = new, found
        if done:
            break
    runs = int(used.sum())
    return levels, variance * runs / (runs - int(known.sum())), df


def _hazard(z: Floats) -> Floats:
    """The normal density over the share above z."""
    from scipy import special

    made: Floats = np.exp(-0.5 * z**2 - 0.5 * math.log(2 * math.pi) - special.log_ndtr(-z))
    return made
