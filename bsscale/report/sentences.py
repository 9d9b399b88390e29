"""The sentences of a report: those that support its answer, and each arm's verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bsscale.objectives import Criterion
from bsscale.report.comparison import ArmSummary, Comparison, FamilySummary
from bsscale.report.held_out import test_note
from bsscale.report.order import is_faster, pair_of
from bsscale.report.ratio_words import estimate_words, interval, times
from bsscale.report.tables import number
from bsscale.stats import RatioEstimate, smallest_margin
from bsscale.terminal.words import counted

__all__ = [
    "against",
    "best_values",
    "controls",
    "details",
    "keeping_up",
    "runner_up",
    "target_words",
    "troubles",
    "unchanged",
    "verdicts",
]

# As fast is an interval within 1 / (1 + margin) and 1 + margin.
MARGIN = 0.1
# Verdicts that follow the name of their arm with "is".
_STATES = ("as fast", "faster", "slower", "too close")


def against(best: ArmSummary, reference: ArmSummary, family: FamilySummary) -> str:
    """What the fastest arm needs against the baseline, and how sure that is."""
    estimate = best.judged or best.ratio
    assert estimate is not None
    seeds = counted(estimate.n, "seed")
    sure = seeds
    if estimate.confidence is not None:
        among = len(family.arms)
        whose = ""
        if estimate.comparisons > 1:
            whose = f" for {'both' if among == 2 else f'all {among}'} arms together"
        elif best.primary and among > 1:
            whose = " for the primary arm alone"
        elif among > 1:
            whose = f" for each of {among} arms alone"
        sure = f"{_percent(estimate.confidence)}{whose}: {interval(estimate)}; {seeds}"
    if 2 * estimate.baseline_reached <= estimate.n:
        missed = estimate.n - estimate.baseline_reached
        return (
            f"{best.short} reached {target_words(best)}, and {reference.short} did not in {missed} "
            f"of {estimate.n} runs."
        )
    return (
        f"{best.short} reached {target_words(best)} with {times(estimate.ratio)} the samples of "
        f"{reference.short} ({sure})."
    )


def keeping_up(best: ArmSummary, members: Sequence[ArmSummary], reference: ArmSummary) -> list[str]:
    """Whether the fastest arm, or any, is as fast as the baseline, in plain words."""
    estimate = best.judged or best.ratio
    assert estimate is not None
    if estimate.within(MARGIN):
        return [f"That is as fast as {reference.short}, within {100 * MARGIN:.0f}%."]
    if estimate.high < 1:
        return [f"That is fewer than {reference.short} needs."]
    if estimate.low <= 1:
        return [f"Whether it keeps up with {reference.short} is too close to call."]
    others = [each for arm in members if (each := arm.judged or arm.ratio) is not None]
    if all(each.low > 1 and not each.within(MARGIN) for each in others):
        return [f"No arm keeps up with {reference.short}."]
    return [f"It does not keep up with {reference.short}."]


def runner_up(second: ArmSummary) -> str:
    """What the runner-up needs against the baseline."""
    estimate = second.judged or second.ratio
    if estimate is None or not math.isfinite(estimate.ratio):
        return f"Runner-up: {second.short}, which did not reach the target."
    return f"Runner-up {second.short}: {estimate_words(estimate)}."


def unchanged(fixed: ArmSummary) -> str:
    """What the arm needs that leaves the learning rate as it is."""
    estimate = fixed.judged or fixed.ratio
    if estimate is None or not math.isfinite(estimate.ratio):
        return f"{fixed.short} leaves the learning rate as it is, and did not reach the target."
    return f"{fixed.short}, which leaves the learning rate as it is: {estimate_words(estimate)}."


def controls(best: ArmSummary, members: Sequence[ArmSummary]) -> list[str]:
    """The controls at the same number of GPUs that the fastest arm does not beat."""
    said = []
    for arm in members:
        if arm.role != "control" or best.role == "control" or arm.gpus != best.gpus:
            continue
        pair = pair_of(best, arm)
        if pair is not None and not is_faster(pair):
            said.append(
                f"Too close to call against the control {arm.short}: {estimate_words(pair)}."
                if pair.high > 1 and pair.low <= 1
                else f"Not faster than the control {arm.short}: {estimate_words(pair)}."
            )
    return said


def troubles(arms: Sequence[ArmSummary]) -> list[str]:
    """The arms of which runs diverged or failed."""
    diverged = [
        f"{arm.short} diverged in {arm.divergence.count} of {arm.divergence.n} runs."
        for arm in arms
        if arm.divergence is not None and arm.divergence.count
    ]
    failed = [
        f"{arm.failed} of {arm.failed + arm.trained} runs of {arm.short} failed."
        for arm in arms
        if arm.failed
    ]
    return diverged + failed


def details(comparison: Comparison, family: FamilySummary) -> list[str]:
    """What a choice rests on besides its intervals: luck, the primary arm, the test split."""
    arms = {arm.arm: arm for arm in comparison.arms}
    winner, said = family.winner, []
    best = None if winner is None else arms[winner.arm]
    if winner is not None and best is not None:
        if best.role == "control":
            said.append(f"{best.short} is a control.")
        if winner.corrected is not None:
            said.append(
                f"The fastest of {winner.among} arms is partly the luckiest: corrected for that, "
                f"{best.short} needs {times(winner.corrected)} the samples of "
                f"{arms[family.baseline].short}."
            )
        if best.test_note is not None:
            said.append(f"{best.short}: {best.test_note}")
        if winner.runner_up is not None and winner.lead is not None:
            note = test_note(best, arms[winner.runner_up], winner.lead)
            said += [] if note is None else [f"{best.short}: {note}"]
    if family.primary is not None and (best is None or family.primary != best.arm):
        primary = arms[family.primary]
        says = primary.verdict or ""
        says = f"is {says}" if says.startswith(_STATES) else says
        said.append(f"The primary arm, {primary.short}, judged on its own, {says}.")
    return said


def best_values(comparison: Comparison) -> str:
    """Without a target: the arm with the best value of each metric."""
    said = [_best_of(comparison, criterion) for criterion in comparison.criteria]
    text = f"{', and '.join(said)}."
    return text[0].upper() + text[1:]


def target_words(arm: ArmSummary) -> str:
    """A target with its metric, such as "AUC 0.78"."""
    return f"{arm.criterion.title} {arm.target:.4g}"


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
    if estimate is None or estimate.told_apart or estimate.within(MARGIN):
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
        f"{first} at a target {number(other.easier_by)} easier it {_side(other.ratio)}: "
        f"{estimate_words(other.ratio)}."
    ]


def _side(estimate: RatioEstimate) -> str:
    if estimate.low > 1:
        return "is slower"
    if estimate.high < 1:
        return "is faster"
    return "is too close to call"
