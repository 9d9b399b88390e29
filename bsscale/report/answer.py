"""The answer of a report: what to use, how sure that is, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bsscale.report.comparison import ArmSummary, Comparison, FamilySummary
from bsscale.report.next_step import NextStep, add_baseline, easier, more_seeds, study_of
from bsscale.report.read import Sources
from bsscale.report.tables import interval, samples, times
from bsscale.report.use import Use, use_of
from bsscale.stats import FEWEST_SEEDS, RatioEstimate, paired_ratio
from bsscale.terminal.words import counted

__all__ = ["Answer", "answers", "ranked"]

Kind: TypeAlias = Literal[
    "use", "tie", "nothing_helps", "no_baseline", "missed", "few_seeds", "one_arm", "no_target"
]


@dataclass(frozen=True)
class Answer:
    """What a comparison says to someone who must choose.

    Attributes
    ----------
    kind
        Which of the situations it is.
    headline, sentences
        The choice, and what supports it.
    use
        How to train as the chosen arm did; None where nothing is to be chosen.
    next
        What to do to learn more; None where nothing is missing.
    best, second
        The labels of the fastest arm and of the runner-up, where there are such.
    """

    kind: Kind
    headline: str
    sentences: tuple[str, ...]
    use: Use | None = None
    next: NextStep | None = None
    best: str | None = None
    second: str | None = None

    @property
    def text(self) -> str:
        """Headline and sentences on one line."""
        return " ".join([f"{self.headline}.", *self.sentences])


def answers(comparison: Comparison, found: Sources) -> list[Answer]:
    """An answer for each baseline that arms are compared with, or one where there is none."""
    if not comparison.arms:
        return []
    if comparison.families:
        return [_of_family(comparison, family, found) for family in comparison.families]
    judged = ranked([arm for arm in comparison.arms if arm.samples_to_target is not None])
    if not judged:
        text = "No target was set, so that no arm can be judged by the samples to it."
        step = easier(comparison.arms, found, first=True)
        return [Answer("no_target", "No target", (text,), None, step)]
    if len(judged) == 1:
        return [_one_arm(judged[0])]
    return [_no_baseline(judged, found)]


def ranked(arms: Sequence[ArmSummary]) -> list[ArmSummary]:
    """Arms in the order of their medians: the fastest first, those that did not reach last."""

    def place(arm: ArmSummary) -> tuple[float, float]:
        known = arm.ratio is not None and not math.isnan(arm.ratio.ratio)
        ratio = arm.ratio.ratio if known and arm.ratio is not None else math.inf
        return (1.0 if arm.is_baseline else ratio), _median(arm)

    return sorted(arms, key=place)


def _of_family(comparison: Comparison, family: FamilySummary, found: Sources) -> Answer:
    arms = {arm.arm: arm for arm in comparison.arms}
    reference = arms[family.baseline]
    members = [arms[name] for name in family.arms]
    diverged = _diverged(members)
    if family.winner is None:
        return _missed(members, reference, found)
    best = arms[family.winner.arm]
    against = _against(best, reference)
    second = None if family.winner.runner_up is None else arms[family.winner.runner_up]
    if best.ratio is None or best.ratio.confidence is None:
        return _few_seeds(best, second, against, found, diverged)
    controls = _controls(best, members)
    kept_up = () if best.ratio.low <= 1 else (f"No arm keeps up with {reference.short}.",)
    fixed = next(
        (arm for arm in members
         if arm.record.schedule == "fixed" and arm.role != "control" and arm.gpus == best.gpus),
        None,
    )  # fmt: skip
    if fixed is not None and (fixed is best or not _faster(_pair(best, fixed))):
        return _nothing_helps(best, fixed, reference, against, found, diverged)
    if second is None:
        head = f"{best.short} was the only arm" if len(members) == 1 else f"Use {best.short}"
        said = (against, *kept_up, *controls, *diverged)
        return Answer("one_arm", head, said, use_of(best), None, best.short)
    lead = family.winner.lead
    runner = _runner_up(second, reference)
    if _faster(lead):
        assert lead is not None
        faster = f" {best.short} needs {times(lead.ratio)}x ({interval(lead)}) of its samples."
        said = (against, *kept_up, runner + faster, *controls, *diverged)
        return Answer(
            "use", f"Use {best.short}", said, use_of(best), None, best.short, second.short
        )
    between = "" if lead is None else (
        f" Between the two, the ratio is {times(lead.ratio)} ({interval(lead)}), which includes 1."
    )  # fmt: skip
    return Answer(
        "tie",
        f"Too close to call: {best.short} or {second.short}",
        (against, *kept_up, runner + between, *controls, *diverged),
        use_of(best),
        more_seeds(best, second, found),
        best.short,
        second.short,
    )


def _nothing_helps(
    best: ArmSummary,
    fixed: ArmSummary,
    reference: ArmSummary,
    against: str,
    found: Sources,
    diverged: Sequence[str],
) -> Answer:
    """No schedule is faster than to leave the learning rate as it is."""
    if best is fixed:
        said = ["The fixed rate of 1 GPU is the fastest.", against]
    else:
        pair = _pair(best, fixed)
        told = "" if pair is None else f" ({times(pair.ratio)}x, {interval(pair)})"
        said = [
            against,
            f"{fixed.short} leaves the learning rate as it is, and {best.short} is too close "
            f"to it to call{told}.",
        ]
    step = more_seeds(best, fixed, found) if best is not fixed else None
    head = "Nothing helps: no schedule is told to be faster than the fixed rate"
    return Answer("nothing_helps", head, (*said, *diverged), use_of(fixed), step, best.short)


def _few_seeds(
    best: ArmSummary,
    second: ArmSummary | None,
    against: str,
    found: Sources,
    diverged: Sequence[str],
) -> Answer:
    n = best.ratio.n if best.ratio is not None else len(best.seeds)
    seeds = counted(n, "seed")
    said = [
        f"So far, {best.short} is the fastest.",
        against,
        f"Seeds differ; {FEWEST_SEEDS} are the fewest that give an interval.",
    ]
    return Answer(
        "few_seeds",
        f"No answer yet: {seeds}",
        (*said, *diverged),
        use_of(best),
        more_seeds(best, second, found),
        best.short,
        None if second is None else second.short,
    )


def _missed(members: Sequence[ArmSummary], reference: ArmSummary, found: Sources) -> Answer:
    counts = ", ".join(
        f"{arm.short} {_reached(arm)}/{len(arm.seeds)}" for arm in (*members, reference)
    )
    head = f"No arm reached {_target(reference)}"
    said = [f"Runs that reached it: {counts}. An arm needs more than half of its runs."]
    if _median(reference) < math.inf:
        said.append(f"{reference.short} needs {samples(_median(reference))} samples.")
    step = easier(members, found, first=False)
    return Answer("missed", head, (*said, *_diverged(members)), None, step)


def _no_baseline(arms: Sequence[ArmSummary], found: Sources) -> Answer:
    best, *others = arms
    missed = [arm.short for arm in arms if not math.isfinite(_median(arm))]
    said = ["Nothing here says what the larger batch costs: a ranking only."]
    if math.isfinite(_median(best)):
        pair = _pair(others[0], best)
        next_one = f"{others[0].short} needs {times(pair.ratio)}x of that" if pair else ""
        next_one += f" ({interval(pair)})" if pair and pair.confidence is not None else ""
        said.append(
            f"{best.short} needs the fewest samples to {_target(best)}: {samples(_median(best))} "
            f"(median of {len(best.seeds)}). {next_one + '.' if next_one else ''}".strip()
        )
    if missed:
        said.append(f"Not reached in half of the runs: {', '.join(missed)}.")
    said += _diverged(arms)
    head = "No 1-GPU baseline"
    return Answer("no_baseline", head, tuple(said), None, add_baseline(arms, found), best.short)


def _one_arm(arm: ArmSummary) -> Answer:
    median = _median(arm)
    said = (
        f"{arm.short} needs {samples(median)} samples to {_target(arm)}"
        if math.isfinite(median)
        else f"{arm.short} does not reach {_target(arm)} in half of its runs"
    )
    reached = f"{_reached(arm)} of {len(arm.seeds)} runs reached it."
    head = "One arm: there is nothing to compare it with"
    return Answer("one_arm", head, (f"{said}; {reached}",), use_of(arm), study_of(arm))


def _against(best: ArmSummary, reference: ArmSummary) -> str:
    """What the fastest arm needs, against the baseline."""
    estimate = best.judged or best.ratio
    assert estimate is not None
    seeds = counted(estimate.n, "seed")
    sure = seeds
    if estimate.confidence is not None:
        together = (
            f", {estimate.comparisons} comparisons together" if estimate.comparisons > 1 else ""
        )
        sure = f"{100 * estimate.confidence:.3g}%: {interval(estimate)}; {seeds}{together}"
    return (
        f"{best.short} reached {_target(best)} with {times(estimate.ratio)}x the samples of "
        f"{reference.short} ({sure})."
    )


def _runner_up(second: ArmSummary, reference: ArmSummary) -> str:
    estimate = second.judged or second.ratio
    if estimate is None or not math.isfinite(estimate.ratio):
        return f"Runner-up: {second.short}, which did not reach the target."
    return f"Runner-up {second.short}: {times(estimate.ratio)}x ({interval(estimate)})."


def _controls(best: ArmSummary, members: Sequence[ArmSummary]) -> list[str]:
    """The controls at the same number of GPUs that the fastest arm does not beat."""
    said = []
    for arm in members:
        if arm.role != "control" or best.role == "control" or arm.gpus != best.gpus:
            continue
        pair = _pair(best, arm)
        if pair is not None and not _faster(pair):
            said.append(
                f"Not told to be faster than the control {arm.short} "
                f"({times(pair.ratio)}x, {interval(pair)})."
            )
    return said


def _diverged(arms: Sequence[ArmSummary]) -> list[str]:
    return [
        f"{arm.short} diverged in {arm.divergence.count} of {arm.divergence.n} runs."
        for arm in arms
        if arm.divergence is not None and arm.divergence.count
    ]


def _pair(one: ArmSummary, other: ArmSummary) -> RatioEstimate | None:
    a, b = ({each.seed: each.samples for each in arm.seeds} for arm in (one, other))
    return paired_ratio(a, b) if a.keys() & b.keys() else None


def _faster(pair: RatioEstimate | None) -> bool:
    return pair is not None and pair.confidence is not None and pair.high < 1


def _median(arm: ArmSummary) -> float:
    return math.inf if arm.samples_to_target is None else arm.samples_to_target.median


def _reached(arm: ArmSummary) -> int:
    return sum(math.isfinite(each.samples) for each in arm.seeds)


def _target(arm: ArmSummary) -> str:
    return f"{arm.criterion.title} {arm.target:.4g}"
