"""Each arm compared with its baseline: the choice of the baseline, the ratio, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from bsscale.errors import RecordsError
from bsscale.records.run_record import RunRecord
from bsscale.report.comparison import ArmSummary
from bsscale.stats import (
    paired_ratio,
    ratio,
    required_seeds,
    verdict,
)

__all__ = ["with_ratios"]


def with_ratios(arms: Sequence[ArmSummary], baseline: str | None) -> list[ArmSummary]:
    """The arms with their ratios.

    Parameters
    ----------
    arms
        In any order.
    baseline
        Label of the arm that ratios refer to; None: see `summarize.summarize`.

    Raises
    ------
    RecordsError
        If no arm is called `baseline`.
    """
    if baseline is not None and not any(_arm_named(arm, baseline) for arm in arms):
        names = ", ".join(repr(arm.arm) for arm in arms) or "none"
        raise RecordsError(
            f"task.baseline={baseline!r} is not an arm of this report", f"the arms are {names}"
        )
    made = []
    for arm in arms:
        peers = [other for other in arms if _same_target(other.record, arm.record)]
        own = arm.samples_to_target
        lowest = min(
            (p.samples_to_target.median for p in peers if p.samples_to_target), default=math.inf
        )
        if own is not None and math.isfinite(lowest):
            arm = replace(arm, ratio_to_best=ratio(own.median, lowest))
        reference = _baseline_of(arm, peers, baseline)
        made.append(arm if reference is None else _compared(arm, reference))
    return made


def _same_target(one: RunRecord, other: RunRecord) -> bool:
    """Whether two runs have the same target, metric and data."""
    names = ("metric", "target", "data_key")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _arm_named(arm: ArmSummary, label: str) -> bool:
    return label in (arm.arm, arm.short, arm.record.arm)


def _baseline_of(
    arm: ArmSummary, peers: Sequence[ArmSummary], label: str | None
) -> ArmSummary | None:
    """The arm, of those with the same target, that an arm is compared with."""
    judged = [peer for peer in peers if peer.samples_to_target is not None]
    study = arm.runs[0].study
    together = [peer for peer in judged if peer.runs[0].study is study]
    if label is not None:
        named = [peer for peer in (*together, *judged) if _arm_named(peer, label)]
        return named[0] if named else None
    if study is not None:
        for peer in together:
            if peer.record.arm == study.record.baseline:
                return peer
    alone = [peer for peer in together if peer.gpus == 1]
    if len(alone) == 1:
        return alone[0]
    return min(together, key=lambda peer: _median(peer), default=None)


def _median(arm: ArmSummary) -> float:
    return math.inf if arm.samples_to_target is None else arm.samples_to_target.median


def _compared(arm: ArmSummary, reference: ArmSummary) -> ArmSummary:
    if arm.arm == reference.arm or arm.samples_to_target is None:
        return replace(arm, baseline=reference.arm)
    own = {result.seed: result.samples for result in arm.seeds}
    others = {result.seed: result.samples for result in reference.seeds}
    if not own.keys() & others.keys():
        says = f"shares no seed with {reference.short}, so the two cannot be compared seed by seed"
        return replace(arm, baseline=reference.arm, verdict=says)
    estimate = paired_ratio(own, others)
    # A run may diverge after it has reached its target.
    diverged = sum(r.status == "diverged" and math.isinf(r.samples) for r in arm.seeds)
    says = verdict(estimate, diverged, len(arm.seeds)).replace("1 GPU", reference.short)
    return replace(
        arm,
        baseline=reference.arm,
        ratio=estimate,
        verdict=says,
        seeds_needed=required_seeds(own, others),
    )
