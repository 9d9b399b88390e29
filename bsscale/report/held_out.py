"""Whether the test split, scored when a run reaches its target, contradicts a verdict."""

from __future__ import annotations

import math
import statistics

from bsscale.report.comparison import ArmSummary
from bsscale.stats import RatioEstimate
from bsscale.terminal.numbers import metric_number

__all__ = ["test_note"]

LEVEL = 0.05


def test_note(arm: ArmSummary, other: ArmSummary, estimate: RatioEstimate) -> str | None:
    """A sentence where the order of two arms by the test split contradicts their interval.

    An arm that is as fast or faster should have no worse a test value when it reaches the target,
    and an arm that is slower no better one. It is said where the seeds agree (two-sided sign test
    at 5%, so from 6 seeds on).

    Parameters
    ----------
    arm, other
        The arm, and what it is compared with.
    estimate
        The ratio of their samples.
    """
    from scipy import special

    if not (estimate.told_apart or estimate.within(0.1)):
        return None
    own, others = _values(arm), _values(other)
    seeds = sorted(own.keys() & others.keys())
    sign = arm.criterion.sign
    better = sum(sign * (own[seed] - others[seed]) > 0 for seed in seeds)
    worse = sum(sign * (own[seed] - others[seed]) < 0 for seed in seeds)
    if better + worse == 0:
        return None
    chance = 2 * float(special.bdtr(min(better, worse), better + worse, 0.5))
    contradicts = worse > better if estimate.low <= 1 else better > worse
    if chance > LEVEL or not contradicts:
        return None
    word, count = ("worse", worse) if worse > better else ("better", better)
    medians = [
        metric_number(statistics.median(values[seed] for seed in seeds)) for values in (own, others)
    ]
    return (
        f"The test split says otherwise: when they reach the target, its {arm.criterion.title} "
        f"there is {word} than that of {other.short} in {count} of {len(seeds)} seeds (median "
        f"{medians[0]} against {medians[1]})."
    )


def _values(arm: ArmSummary) -> dict[int, float]:
    """From seed to the test value at the hit, of the runs that reached the target."""
    return {
        run.record.seed: run.record.test_value
        for run in arm.runs
        if run.record.samples_to_target is not None
        and run.record.test_value is not None
        and math.isfinite(run.record.test_value)
    }
