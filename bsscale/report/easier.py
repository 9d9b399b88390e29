"""The ratio to the baseline at targets that are easier to reach than the one of the runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from bsscale.objectives.target import crossing
from bsscale.report.comparison import ArmSummary, EasierTarget
from bsscale.report.read import FoundRun
from bsscale.stats import paired_ratio

__all__ = ["SHARES", "easier_targets"]

SHARES = (0.0, 0.01, 0.02, 0.04, 0.08)
"""How much easier, as shares of the way from the target back to the untrained model."""


def easier_targets(
    arm: ArmSummary, reference: ArmSummary, confidence: float
) -> tuple[EasierTarget, ...]:
    """An arm's ratio to its baseline at the target and at easier ones, from the recorded curves.

    Parameters
    ----------
    arm, reference
        The arm and its baseline; they have the same target.
    confidence
        Of each interval, on its own.

    Returns
    -------
    tuple
        The target itself comes first. Empty where a curve cannot be read, or the baseline begins at
        the target.
    """
    criterion, target = arm.criterion, arm.target
    ours, theirs = _judged(arm), _judged(reference)
    if target is None or not all(run.evals for run in (*ours, *theirs)):
        return ()
    name = criterion.name
    first = [run.evals[0].metrics.get(name) for run in theirs]
    known = [value for value in first if value is not None and math.isfinite(value)]
    way = criterion.sign * (target - statistics.median(known)) if known else 0.0
    if way <= 0:
        return ()
    found = []
    for share in SHARES:
        easier = target - criterion.sign * share * way
        ratio = paired_ratio(
            _samples(ours, easier, share), _samples(theirs, easier, share), confidence=confidence
        )
        found.append(EasierTarget(easier, share * way, ratio))
    return tuple(found)


def _judged(arm: ArmSummary) -> list[FoundRun]:
    return [run for run in arm.runs if run.record.status != "failed"]


def _samples(runs: Sequence[FoundRun], target: float, share: float) -> dict[int, float]:
    """From seed to samples; a run that reached its target has reached an easier one by then."""
    found = {}
    for run in runs:
        record, hit = run.record, None
        if share:
            values = [point.metrics.get(record.metric) for point in run.evals]
            hit = crossing(
                [p.samples for p in run.evals],
                values,
                target,
                record.direction,
                ended_itself=record.trainer == "script",
            )
        recorded = math.inf if record.samples_to_target is None else record.samples_to_target
        found[record.seed] = recorded if hit is None else min(hit.samples, recorded)
    return found
