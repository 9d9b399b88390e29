"""The noise around a curve: between the seeds of a batch, and between batches.

The runs of a batch share an error: its rate was chosen by tuning, or the curve has another form
there. The distance D between the levels of K batches and the best curve, in units of the noise of
their seeds, says how large it is: D is V times a chi-square with K - 2 degrees of freedom, where V
is the variance of a level over that of the seeds alone. A few batches say little about V, so it has
a distribution: scaled inverse chi-square above 1, with a prior that counts as two more batches at
1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bsscale.critical_batch.curve import log_rise
from bsscale.critical_batch.likelihood import Deviance, Floats, groups_fit
from bsscale.critical_batch.points import Data
from bsscale.critical_batch.profile import LEAST_SIGMA, best_of, grid_of, profile

__all__ = ["CONFIDENCE", "Noise", "noise_of"]

CONFIDENCE = 0.95
_PRIOR = 2.0
# The values of V that are looked at: 1 to 10,000.
_RATIOS = np.exp(np.linspace(0.0, math.log(1e4), 241))


@dataclass(frozen=True)
class Noise:
    """The noise of a fit, on the log scale.

    Attributes
    ----------
    sigma
        Standard deviation between the seeds of a batch.
    shared
        For each batch, the variance of the error that its seeds share.
    critical
        How many standard errors the interval reaches, for the confidence that it has.
    """

    sigma: float
    shared: Floats
    critical: float

    @property
    def between(self) -> float:
        """Standard deviation of the error that the seeds of a batch share."""
        return math.sqrt(float(self.shared.mean()))


def noise_of(data: Data, shared: Floats) -> Noise:
    """The noise around the best curve.

    Parameters
    ----------
    data
        The runs.
    shared
        For each batch, the least variance of the error that its seeds share: that of the choice of
        its rate.
    """
    batches = int((data.reached > 0).sum())
    levels, variance, df = groups_fit(data)
    grid, left = grid_of(data), batches - 2
    if df == 0:
        # One run a batch: the distance from the curve is all noise.
        return Noise(_residual_noise(data, grid, left), shared, _student(max(left, 1)))
    sigma = max(math.sqrt(variance), LEAST_SIGMA)
    if left < 1:
        return Noise(sigma, shared, _student(df))
    deviance = Deviance(data, sigma, np.ones(len(data.batch)))
    known = np.isfinite(levels)
    own = deviance.of(np.zeros(1), np.where(known, levels, levels[known].max() + 1e3)[None, :])
    best = best_of(deviance, grid)
    distance = max(float(profile(deviance, np.array([best]))[1][0] - own[0]), 0.0)
    each = sigma**2 / float(data.reached[known].mean())
    floor = 1.0 + float(shared.mean()) / each
    ratio = max((distance + _PRIOR) / (left + _PRIOR), floor)
    found = np.maximum(shared, (ratio - 1.0) * each)
    return Noise(sigma, found, _critical(distance, left, df, ratio, floor))


def _student(df: float) -> float:
    """The quantile of Student's t for a two-sided interval."""
    from scipy import special

    return float(special.stdtrit(df, 0.5 + CONFIDENCE / 2))


def _critical(distance: float, left: int, df: int, ratio: float, floor: float) -> float:
    """Standard errors at V = `ratio`, so that the interval has its confidence whatever V is."""
    from scipy import optimize, special

    ratios = np.maximum(_RATIOS, floor)
    shape = (left + _PRIOR) / 2
    logs = -shape * np.log(_RATIOS) - (distance + _PRIOR) / 2 / _RATIOS
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()

    def missing(reach: float) -> float:
        inside = 2 * special.stdtr(df, reach * np.sqrt(ratio / ratios)) - 1
        return float((weights * inside).sum()) - CONFIDENCE

    return float(optimize.brentq(missing, 0.0, 1e4))


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
