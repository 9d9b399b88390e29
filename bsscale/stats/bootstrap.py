"""Draws of seeds with replacement, and what they say about ratios of medians."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bsscale.stats.medians import checked

__all__ = ["Floats", "both_sides", "drawn_medians", "expanded", "median_ratios", "paired"]

Floats: TypeAlias = NDArray[np.float64]


def paired(*arms: Mapping[int, float]) -> Floats:
    """Samples of several arms at the seeds that all of them have, in the order of the seeds.

    Returns
    -------
    array
        Shape (arms, n), n >= 1.

    Raises
    ------
    ValueError
        If they share no seed, or a value is NaN or negative.
    """
    seeds = sorted(set(arms[0]).intersection(*arms[1:]))
    if not seeds:
        raise ValueError("the arms share no seed, so there is nothing to compare")
    for runs in arms:
        checked(runs.values())
    return np.array([[runs[seed] for seed in seeds] for runs in arms], dtype=np.float64)


def drawn_medians(samples: Floats, resamples: int, seed: int) -> Floats:
    """Medians of each arm over draws of seeds, the same draws for all arms.

    Parameters
    ----------
    samples
        Shape (arms, n).
    resamples
        Number of draws.
    seed
        Of the draws; arms of one n and one seed have the same draws.

    Returns
    -------
    array
        Shape (arms, resamples); infinite where one of the middle two runs is.
    """
    n = samples.shape[1]
    draws = np.random.default_rng(seed).integers(0, n, (resamples, n), dtype=np.uint32)
    return _medians(samples[:, draws])


def median_ratios(medians: Floats, reference: Floats) -> Floats:
    """Ratios of medians; NaN where both are infinite, or both 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios: Floats = medians / reference
    return ratios


def both_sides(ratios: Floats) -> tuple[Floats, Floats]:
    """Ratios as they count for a low end, and for a high end.

    An undefined ratio could be any number: it counts as 0 for a low end and as infinite for a high
    end.
    """
    unknown = np.isnan(ratios)
    return np.where(unknown, 0.0, ratios), np.where(unknown, math.inf, ratios)


def expanded(tail: float, n: int) -> float:
    """The share of draws beyond an end that is to leave out `tail`, widened for few seeds.

    Φ(t) where t is the quantile of Student's t with n - 1 degrees of freedom at `tail`.
    """
    from scipy import special

    return float(special.ndtr(special.stdtrit(n - 1, tail)))


def _medians(samples: NDArray[Any]) -> Floats:
    """Medians along the last axis; infinite where one of the middle two is."""
    n = samples.shape[-1]
    low, high = (n - 1) // 2, n // 2
    middle = np.partition(samples, [low, high], axis=-1)
    medians: Floats = middle[..., low]
    return medians if low == high else (medians + middle[..., high]) / 2
