"""Each arm compared with its baseline: the choice of the baseline, the ratios, and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from bsscale.errors import RecordsError
from bsscale.records.study_record import Registered
from bsscale.report.comparison import ArmSummary, FamilySummary
from bsscale.report.easier import easier_targets
from bsscale.report.held_out import test_note
from bsscale.stats import (
    Family,
    Looks,
    compare_family,
    fastest,
    ratio,
    required_seeds,
    seeds_for_equivalence,
    verdict,
)

__all__ = ["with_ratios"]

CONFIDENCE = 0.95


def with_ratios(
    arms: Sequence[ArmSummary], baseline: str | None
) -> tuple[list[ArmSummary], list[FamilySummary]]:
    """The arms with their ratios, and the families of those that have one baseline.

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
    made: dict[str, ArmSummary] = {}
    references: dict[str, list[str]] = {}
    for arm in arms:
        peers = [other for other in arms if _same_target(other, arm)]
        own = arm.samples_to_target
        lowest = min(
            (p.samples_to_target.median for p in peers if p.samples_to_target), default=math.inf
        )
        if own is not None and math.isfinite(lowest):
            arm = replace(arm, ratio_to_best=ratio(own.median, lowest))
        reference = _baseline_of(arm, peers, baseline)
        if reference is not None:
            arm = replace(arm, baseline=reference.arm)
            if own is not None and arm.arm != reference.arm:
                references.setdefault(reference.arm, []).append(arm.arm)
        made[arm.arm] = arm
    families = []
    for label, members in references.items():
        reference = made[label]
        compared = [made[name] for name in members if _shared(made[name], reference)]
        for name in members:
            if not _shared(made[name], reference):
                says = f"shares no seed with {reference.short}, so the two cannot be compared"
                made[name] = replace(made[name], verdict=f"{says} seed by seed")
        if compared:
            arms_compared, family = _compared(compared, reference)
            made |= {arm.arm: arm for arm in arms_compared}
            families.append(family)
    return list(made.values()), families


def _same_target(one: ArmSummary, other: ArmSummary) -> bool:
    """Whether two arms have the same target, metric and data, as far as that is known."""
    known = not (one.imported or other.imported)  # (the data of imported curves are not)
    names = ("metric", "target", *(["data_key"] if known else []))
    return all(getattr(one.record, name) == getattr(other.record, name) for name in names)


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
    fixed = [peer for peer in alone if peer.record.schedule == "fixed"]
    # (Without a run at 1 GPU, the fastest arm would be compared with itself.)
    return next((only[0] for only in (alone, fixed) if len(only) == 1), None)


def _samples(arm: ArmSummary) -> dict[int, float]:
    return {result.seed: result.samples for result in arm.seeds}


def _shared(arm: ArmSummary, reference: ArmSummary) -> bool:
    return bool(_samples(arm).keys() & _samples(reference).keys())


def _compared(
    arms: Sequence[ArmSummary], reference: ArmSummary
) -> tuple[list[ArmSummary], FamilySummary]:
    """Arms with their ratios to one baseline."""
    study = reference.runs[0].study
    registered = None if study is None else study.record.registered
    seeds = len(reference.seeds) + reference.failed
    looks = None if registered is None else _looks(registered)
    confidence = CONFIDENCE if looks is None else _confidence_at(looks, seeds)
    primary = None
    if registered is not None and registered.primary is not None:
        primary = next((a.arm for a in arms if a.record.arm == registered.primary), None)
    runs, others = {arm.arm: _samples(arm) for arm in arms}, _samples(reference)
    family = compare_family(runs, others, primary=primary, confidence=confidence)
    made = [_judged(arm, reference, family) for arm in arms]
    # The headline is about arms; a control only serves as a comparison.
    candidates = [arm.arm for arm in arms if arm.role != "control"] or list(runs)
    return made, FamilySummary(
        baseline=reference.arm,
        arms=tuple(runs),
        together=family.together is not None,
        confidence=confidence,
        each=family.each,
        primary=primary,
        looks=() if looks is None else looks.seeds,
        winner=fastest({arm: runs[arm] for arm in candidates}, others, confidence=confidence),
    )


def _looks(registered: Registered) -> Looks | None:
    if not registered.looks:
        return None
    return Looks(tuple(registered.looks), CONFIDENCE)


def _confidence_at(looks: Looks, seeds: int) -> float:
    """Of the look that the study has reached, or is on its way to."""
    return looks.confidence_at(next((n for n in looks.seeds if n >= seeds), looks.seeds[-1]))


def _judged(arm: ArmSummary, reference: ArmSummary, family: Family) -> ArmSummary:
    own, others = _samples(arm), _samples(reference)
    estimate = family.judged[arm.arm]
    primary = arm.arm == family.primary
    each_of = len(family.own) if family.each_alone and not primary else 1
    assert arm.divergence is not None
    says = verdict(
        estimate, arm.divergence.count, len(arm.seeds), failed=arm.failed, each_of=each_of
    ).replace("1 GPU", reference.short)
    each = family.confidence if primary or family.each is None else family.each
    return replace(
        arm,
        ratio=family.own[arm.arm],
        together=None if family.together is None else family.together[arm.arm],
        judged=estimate,
        primary=primary,
        verdict=says,
        seeds_needed=required_seeds(own, others, confidence=each),
        seeds_as_fast=seeds_for_equivalence(own, others, confidence=each),
        easier=easier_targets(arm, reference, family.confidence),
        test_note=test_note(arm, reference, estimate),
    )
