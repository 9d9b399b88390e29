"""The sentences of a report: its verdict, each arm's, and what they do not say."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bsscale.objectives import Criterion
from bsscale.report.comparison import ArmSummary, Comparison, FamilySummary
from bsscale.report.held_out import test_note
from bsscale.report.tables import interval, number, samples, times
from bsscale.stats import RatioEstimate, smallest_margin, verdict
from bsscale.terminal.words import counted

__all__ = ["headline", "verdicts"]


def headline(comparison: Comparison) -> str:
    """The verdict of a report, in a few sentences."""
    arms = comparison.arms
    if not arms:
        return "There is no finished run to report on."
    if comparison.families:
        return " ".join(_of_family(comparison, family) for family in comparison.families)
    judged = [arm for arm in arms if arm.samples_to_target is not None]
    if judged:
        [arm] = judged[:1]
        assert arm.samples_to_target is not None
        median = arm.samples_to_target.median
        says = (
            f"needs {samples(median)} samples (median) to reach {_target(arm)}"
            if math.isfinite(median)
            else f"does not reach {_target(arm)} in half of its runs"
        )
        return f"{arm.short} {says}; {_reached(arm)}. There is no other arm to compare it with."
    said = [_best_of(comparison, criterion) for criterion in comparison.criteria]
    return f"No target was set, so no samples-to-target can be compared; {', and '.join(said)}."


def _of_family(comparison: Comparison, family: FamilySummary) -> str:
    """The fastest arm, its lead over the next, and the primary arm where that is another one."""
    arms = {arm.arm: arm for arm in comparison.arms}
    winner, reference = family.winner, arms[family.baseline]
    if winner is None:
        return _no_winner([arms[name] for name in family.arms], reference)
    best = arms[winner.arm]
    estimate = best.together or best.ratio
    assert estimate is not None
    said = [
        f"{best.short}{_place(best, winner.among)} {_predicate(best, estimate, family, reference)}"
        f" ({_details(best, estimate, winner.corrected)})."
    ]
    if best.test_note is not None:
        said.append(best.test_note)
    if winner.runner_up is not None and winner.lead is not None:
        second = arms[winner.runner_up]
        lead = verdict(winner.lead, 0, winner.lead.arm_runs).replace("1 GPU", second.short)
        said.append(f"Against the runner-up it {_as_predicate(lead)}.")
        note = test_note(best, second, winner.lead)
        if note is not None:
            said.append(note)
    if family.primary is not None and (family.primary != best.arm or winner.among > 1):
        primary = arms[family.primary]
        says = _as_predicate(primary.verdict or "")
        said.append(f"The primary arm, {primary.short}, judged on its own, {says}.")
    return " ".join(said)


def _no_winner(arms: Sequence[ArmSummary], reference: ArmSummary) -> str:
    if len(arms) == 1:
        [arm] = arms
        assert arm.judged is not None
        return (
            f"{arm.short} {_as_predicate(arm.verdict or '')} ({_details(arm, arm.judged, None)})."
        )
    counts = "; ".join(
        f"{arm.short} {sum(map(math.isfinite, (r.samples for r in arm.seeds)))} of {len(arm.seeds)}"
        for arm in (*arms, reference)
    )
    return (
        f"No arm reached {_target(reference)} in more than half of its runs, so there is no "
        f"fastest one. Runs that reached it: {counts}."
    )


def _place(best: ArmSummary, among: int) -> str:
    control = "a control and " if best.role == "control" else ""
    if among > 1:
        return f", {control}the fastest of {among} arms,"
    return ", a control," if control else ""


def _predicate(
    arm: ArmSummary, estimate: RatioEstimate, family: FamilySummary, reference: ArmSummary
) -> str:
    """The verdict of an arm by the interval of the family."""
    assert arm.divergence is not None
    each_of = 1 if family.together else len(family.arms)
    says = verdict(
        estimate, arm.divergence.count, len(arm.seeds), failed=arm.failed, each_of=each_of
    )
    return _as_predicate(says.replace("1 GPU", reference.short))


def _as_predicate(says: str) -> str:
    """A verdict as it follows the name of its arm."""
    states = ("as fast", "faster", "slower", "too close")
    return f"is {says}" if says.startswith(states) else says


def _details(arm: ArmSummary, estimate: RatioEstimate, corrected: float | None) -> str:
    parts = [_target(arm)]
    if math.isfinite(estimate.ratio):
        parts.append(f"ratio of medians {times(estimate.ratio)}")
        if corrected is not None:
            parts[-1] += f", {times(corrected)} corrected for the choice of the fastest"
    seeds = counted(estimate.n, "seed")
    if estimate.confidence is not None:
        seeds += f", {_percent(estimate.confidence)} interval"
        if estimate.comparisons > 1:
            seeds += f" for {estimate.comparisons} comparisons together"
    return "; ".join([*parts, seeds, _reached(arm)])


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.3g}%"


def _best_of(comparison: Comparison, criterion: Criterion) -> str:
    """A clause that names the arm with the best value of a metric."""
    arms = [arm for arm in comparison.arms if arm.criterion == criterion]
    value = criterion.best(arm.median_best_value for arm in arms)
    if value is None:
        return f"no run has a value of {criterion.title}"
    best = next(arm for arm in arms if arm.median_best_value == value)
    return (
        f"the {criterion.best_word} median {criterion.title}, {number(value)}, is that of "
        f"{best.short}"
    )


def _target(arm: ArmSummary) -> str:
    return f"{arm.criterion.title} {arm.target:.4g}"


def _reached(arm: ArmSummary) -> str:
    text = f"{arm.counts['reached']} of its {arm.trained} runs reached it"
    diverged = arm.counts["diverged"]
    text += f" and {diverged} diverged" if diverged else ""
    return f"{text}, {arm.failed} failed" if arm.failed else text


def verdicts(comparison: Comparison) -> list[tuple[str, str]]:
    """Every arm's own verdict: label and sentences."""
    said = []
    for arm in comparison.arms:
        if arm.verdict is not None:
            notes = [arm.verdict.rstrip(".") + ".", *_planning(arm), *_range(arm)]
            if arm.primary:
                notes.insert(1, "It is the primary arm, judged on its own.")
            if arm.test_note is not None:
                notes.append(arm.test_note)
            said.append((arm.short, " ".join(notes)))
        elif arm.failed:
            said.append((arm.short, f"{arm.failed} of {arm.failed + arm.trained} runs failed."))
    return said


def _planning(arm: ArmSummary) -> list[str]:
    """How many seeds a clearer verdict would take, where it is not clear."""
    estimate = arm.judged
    if estimate is None or estimate.told_apart or estimate.within(0.1):
        return []
    said = []
    if arm.seeds_needed is not None and arm.seeds_needed > len(arm.seeds):
        said.append(f"About {arm.seeds_needed} seeds each would tell the two apart.")
    margin = smallest_margin(estimate)
    if margin is not None:
        text = f'With these seeds it is "as fast" only within {math.ceil(100 * margin)}%'
        if arm.seeds_as_fast is not None and arm.seeds_as_fast > len(arm.seeds):
            text += f"; about {arm.seeds_as_fast} would show it within 10%, if the ratio is 1"
        said.append(text + ".")
    return said


def _range(arm: ArmSummary) -> list[str]:
    """Over which range of easier targets the verdict holds."""
    if arm.judged is None or arm.judged.confidence is None or len(arm.easier) < 2:
        return []
    here, *others = arm.easier
    same = 0
    while same < len(others) and _side(others[same].ratio) == _side(here.ratio):
        same += 1
    title = arm.criterion.title
    if same == len(others):
        return [f"The same holds at targets up to {number(others[-1].easier_by)} {title} easier."]
    other = others[same]
    first = (
        f"The same holds at targets up to {number(others[same - 1].easier_by)} {title} easier, but"
        if same
        else "But"
    )
    return [
        f"{first} at a target {number(other.easier_by)} easier it {_side(other.ratio)}: ratio "
        f"{times(other.ratio.ratio)} ({interval(other.ratio)})."
    ]


def _side(estimate: RatioEstimate) -> str:
    if estimate.low > 1:
        return "is slower"
    if estimate.high < 1:
        return "is faster"
    return "is too close to call"
