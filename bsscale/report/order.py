"""The order of arms by their samples to the target, and two of them seed by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bsscale.report.comparison import ArmSummary
from bsscale.stats import RatioEstimate, paired_ratio

__all__ = ["is_faster", "median_of", "pair_of", "ranked", "reached_of"]


def ranked(arms: Sequence[ArmSummary]) -> list[ArmSummary]:
    """Arms in the order of their medians: the fastest first, those that did not reach last."""

    def place(arm: ArmSummary) -> tuple[float, float]:
        known = arm.ratio is not None and not math.isnan(arm.ratio.ratio)
        ratio = arm.ratio.ratio if known and arm.ratio is not None else math.inf
        return (1.0 if arm.is_baseline else ratio), median_of(arm)

    return sorted(arms, key=place)


def pair_of(one: ArmSummary, other: ArmSummary) -> RatioEstimate | None:
    """The samples of one arm over those of another; None where they share no seed."""
    a, b = ({each.seed: each.samples for each in arm.seeds} for arm in (one, other))
    return paired_ratio(a, b) if a.keys() & b.keys() else None


def is_faster(pair: RatioEstimate | None) -> bool:
    """Whether the interval of a ratio lies below 1."""
    return pair is not None and pair.confidence is not None and pair.high < 1


def median_of(arm: ArmSummary) -> float:
    """The median of the samples to the target; infinite where there is none."""
    return math.inf if arm.samples_to_target is None else arm.samples_to_target.median


def reached_of(arm: ArmSummary) -> int:
    """How many runs of an arm reached the target."""
    return sum(math.isfinite(each.samples) for each in arm.seeds)
