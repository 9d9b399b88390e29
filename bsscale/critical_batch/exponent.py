"""A free exponent, as a check of the form of the curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bsscale.critical_batch.curve import log_rise
from bsscale.critical_batch.fit import Fit
from bsscale.critical_batch.likelihood import Deviance, Floats, groups_fit
from bsscale.critical_batch.points import Data
from bsscale.critical_batch.profile import LEAST_SIGMA, best_of, grid_of, profile

__all__ = ["FreeExponent", "free_exponent"]

_MOST = 8.0
# The own spread of a batch counts as much as the pooled one once it has so many degrees of freedom.
_PRIOR = 1.0


@dataclass(frozen=True)
class FreeExponent:
    """The curve ``Emin (1 + (B / Bc)^k)``, beside the one in which k is 1.

    Attributes
    ----------
    value
        k, between 1/8 and 8.
    critical_batch
        Bc of this curve; far below the smallest batch where samples follow a power of the batch.
    bend
        How far the two curves are apart at the batches: root mean square on the log scale.
    noise
        The standard error of the level of a batch around the curve with k; NaN where there are too
        few points for one.
    """

    value: float
    critical_batch: float
    bend: float
    noise: float


def free_exponent(made: Fit) -> FreeExponent:
    """The exponent that fits best.

    Each batch is weighted by the noise of its own seeds alone. A curve of another form, which the
    seeds resolve, shows in it even where unweighted residuals look small.

    Parameters
    ----------
    made
        The fit with an exponent of 1, to three batches or more.
    """
    data = made.data
    variance = _own_variances(data)
    from scipy import optimize

    scale = float(variance.mean())
    deviance, grid = Deviance(data, math.sqrt(scale), scale / variance), grid_of(data)

    def least(log_power: float) -> float:
        power = math.exp(log_power)
        best = best_of(deviance, grid, power)
        return float(profile(deviance, np.array([best]), power)[1][0])

    most = math.log(_MOST)
    powers = np.linspace(-most, most, 9)
    first = float(min(powers, key=lambda each: least(float(each))))
    step = float(powers[1] - powers[0])
    found = optimize.minimize_scalar(
        least,
        bounds=(max(first - step, -most), min(first + step, most)),
        method="bounded",
        options={"xatol": 1e-3},
    )
    power = math.exp(float(found.x))
    best = best_of(deviance, grid, power)
    level = profile(deviance, np.array([best]), power)[0][0]
    bent = level + log_rise(data.batch, best, power)[0]
    known = data.reached > 0
    apart = (bent - np.log(made.curve.samples(data.batch)))[known]
    seen = ~data.censored
    left = int(seen.sum()) - 3
    residual = (data.y - bent[data.group])[seen]
    runs = float(data.reached[known].mean())
    noise = math.sqrt(float((residual**2).sum()) / left / runs) if left > 0 else math.nan
    return FreeExponent(power, math.exp(best), math.sqrt(float((apart**2).mean())), noise)


def _own_variances(data: Data) -> Floats:
    """The variance of the seeds of each batch, drawn towards the pooled one where they are few."""
    levels, pooled, df = groups_fit(data)
    if df < 1:
        return np.ones(len(data.batch))
    seen = ~data.censored
    apart = (data.y[seen] - levels[data.group[seen]]) ** 2
    own = np.bincount(data.group[seen], apart, minlength=len(data.batch))
    prior = max(pooled, LEAST_SIGMA**2) * _PRIOR
    made: Floats = (own + prior) / (np.maximum(data.reached - 1, 0) + _PRIOR)
    return made
