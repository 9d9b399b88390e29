"""What the curves of a range test must hold before a cycle may be suggested from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bsscale.stats.range_test import PEAK_OF_EDGE, Chance, Curve, Estimates

__all__ = ["Nothing", "what_is_missing"]

# Evaluations that a seed needs at all.
FEWEST_EVALUATIONS = 10
# How many of them, at rates up to half of its edge, must be better than chance: as many as a rise
# must last. Otherwise nothing was seen of a model that trains.
FEWEST_LEARNING = 3

_LOWER = "try lower rates: task.ramp.lr_range_test_min_lr=RATE"


@dataclass(frozen=True)
class Nothing:
    """Why no cycle is suggested.

    Attributes
    ----------
    reason
        What the curves lack.
    remedy
        What may help.
    """

    reason: str
    remedy: str


def what_is_missing(
    curves: Mapping[int, Curve], readings: Mapping[int, Estimates], chance: Chance
) -> Nothing | None:
    """What the curves lack for a suggestion; None if they carry one.

    Every seed must have been evaluated often enough. The model must have learned something. It must
    not have been unstable at a low rate and got over it: a cycle begins with an untrained model,
    and the test tried the higher rates on a trained one. A seed that diverged must have tried half
    of its edge, which is what is suggested, and must have been better than chance at rates up to
    that, or its ramp begins beyond the edge.

    Parameters
    ----------
    curves, readings
        By seed, at least one.
    chance
        What a model that knows no feature reaches.
    """
    lowest = min(float(curve.lr[0]) for curve in curves.values() if len(curve.lr))
    for seed, curve in curves.items():
        evaluations = len(curve.lr)
        if not readings[seed].edge.diverged and evaluations < FEWEST_EVALUATIONS:
            return Nothing(
                f"seed {seed} has {_times(evaluations)} along the ramp, and an edge needs "
                f"{FEWEST_EVALUATIONS}",
                "make the ramp longer: task.ramp.lr_range_test_fraction, and budget_samples if it "
                "is to be longer than a pass",
            )
    if not any(_better(curve, chance).any() for curve in curves.values()):
        return Nothing(
            f"no evaluation was better than chance at any rate from {lowest:.3g} on", _LOWER
        )
    for seed, curve in curves.items():
        edge = readings[seed].edge
        if edge.instability is not None:
            return Nothing(
                f"seed {seed} was unstable from {edge.instability:.3g} on, with a loss higher than "
                "at the beginning, and got over it: what the test sees is early instability, and a "
                "cycle to a peak beyond that has to pass it",
                "give rates by hand (schedule.cycle_max_lr), or tune the peak in a study: an arm "
                "with rate: tuned",
            )
        if not edge.diverged:
            continue
        peak = edge.lr * PEAK_OF_EDGE
        if peak < curve.lr[0]:
            return Nothing(
                f"seed {seed} diverged within {_times(int((curve.lr <= edge.lr).sum()))} of the "
                f"lowest rate, {curve.lr[0]:.3g}: half of its edge, {edge.lr:.3g}, was not tried",
                _LOWER,
            )
        learning = int((_better(curve, chance) & (curve.lr <= peak)).sum())
        if learning < FEWEST_LEARNING:
            return Nothing(
                f"seed {seed} diverged at {edge.lr:.3g} ({edge.reason}), and only "
                f"{_times(learning)} at rates up to half of that {_was(learning)} better than "
                "chance: the ramp begins beyond the edge",
                _LOWER,
            )
    return None


def _better(curve: Curve, chance: Chance) -> npt.NDArray[np.bool_]:
    """Which evaluations are better than chance, by the loss or by the metric."""
    better = curve.loss < chance.loss
    if chance.value is not None:
        sign = chance.criterion.sign
        better = better | (sign * curve.values > sign * chance.value)
    return better


def _times(evaluations: int) -> str:
    return f"{evaluations} evaluation{'s' if evaluations != 1 else ''}"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
