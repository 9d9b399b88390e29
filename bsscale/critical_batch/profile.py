"""The deviance of curves over log Bc, where the level is the best one for each."""

from __future__ import annotations

import math

import numpy as np

from bsscale.critical_batch.curve import log_rise
from bsscale.critical_batch.likelihood import Deviance, Floats
from bsscale.critical_batch.points import Data

__all__ = ["LEAST_SIGMA", "best_of", "ends_of", "grid_of", "profile"]

# A curve whose Bc is this many times the largest batch is flat, and proportional to the batch at
# the smallest one over it.
_BEYOND = 1e3
_STEP = 0.05
# Samples are counted in evaluation intervals, so that seeds may seem to agree exactly.
LEAST_SIGMA = 1e-4


def grid_of(data: Data) -> Floats:
    """Logarithms of Bc, from where the curve is proportional to where it is flat."""
    low = math.log(data.batch[0] / _BEYOND)
    high = math.log(data.batch[-1] * _BEYOND)
    return np.linspace(low, high, math.ceil((high - low) / _STEP) + 1)


def profile(
    deviance: Deviance, log_critical: Floats, exponent: float = 1.0
) -> tuple[Floats, Floats]:
    """The best level of each curve, and its deviance."""
    rise = log_rise(deviance.data.batch, log_critical, exponent)
    level = deviance.best_level(rise)
    return level, deviance.of(level, rise)


def best_of(deviance: Deviance, grid: Floats, exponent: float = 1.0) -> float:
    """The logarithm of Bc with the least deviance."""
    from scipy import optimize

    at = int(profile(deviance, grid, exponent)[1].argmin())
    low, high = grid[max(at - 1, 0)], grid[min(at + 1, len(grid) - 1)]
    made = optimize.minimize_scalar(
        lambda each: float(profile(deviance, np.array([each]), exponent)[1][0]),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(made.x)


def ends_of(deviance: Deviance, grid: Floats, best: float, most: float) -> tuple[float, float]:
    """The ends of log Bc whose deviance is at most `most`; those of the grid if need be."""
    from scipy import optimize

    found = profile(deviance, grid)[1]

    def above(log_critical: float) -> float:
        return float(profile(deviance, np.array([log_critical]))[1][0]) - most

    ends = []
    for sign in (-1, 1):
        order = grid[::sign]
        within = found[::sign] <= most
        beyond = (order - best) * sign > 0
        inside = within & beyond
        last = int(np.flatnonzero(inside)[-1]) if inside.any() else None
        if last == len(order) - 1:
            ends.append(float(order[-1]))
            continue
        start = best if last is None else float(order[last])
        stop = float(order[int(np.flatnonzero(beyond)[0]) if last is None else last + 1])
        low, high = above(start), above(stop)
        ends.append(
            float(optimize.brentq(above, start, stop, xtol=1e-9)) if low < 0 < high else start
        )
    return ends[0], ends[1]
