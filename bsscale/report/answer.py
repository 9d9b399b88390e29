"""The answer of a report: what to use, how sure that is, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from bsscale.report.comparison import ArmSummary, Comparison, FamilySummary
from bsscale.report.next_step import NextStep, add_baseline, easier, more_seeds, study_of
from bsscale.report.order import is_faster, median_of, pair_of, ranked, reached_of
from bsscale.report.ratio_words import estimate_words, interval, times
from bsscale.report.read import Sources
from bsscale.report.sentences import (
    MARGIN,
    against,
    best_values,
    controls,
    details,
    keeping_up,
    runner_up,
    target_words,
    troubles,
    unchanged,
)
from bsscale.report.tables import number, samples
from bsscale.report.use import Use, use_of
from bsscale.stats import FEWEST_SEEDS, RatioEstimate
from bsscale.terminal.words import counted

__all__ = ["Answer", "answers", "in_words"]

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
    details
        What else the choice rests on, for those who read on.
    """

    kind: Kind
    headline: str
    sentences: tuple[str, ...]
    use: Use | None = None
    next: NextStep | None = None
    best: str | None = None
    second: str | None = None
    details: tuple[str, ...] = ()

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
        said = (text, best_values(comparison), *troubles(comparison.arms))
        return [Answer("no_target", "No target", said, None, step)]
    if len(judged) == 1:
        return [_one_arm(judged[0])]
    return [_no_baseline(judged, found)]


def in_words(answers: Sequence[Answer]) -> str:
    """All that answers say, on one line: the verdict of report.json."""
    if not answers:
        return "There is no finished run to report on."
    return " ".join(" ".join([each.text, *each.details]) for each in answers)


def _of_family(comparison: Comparison, family: FamilySummary, found: Sources) -> Answer:
    made = _choice(comparison, family, found)
    return replace(made, details=tuple(details(comparison, family)))


def _choice(comparison: Comparison, family: FamilySummary, found: Sources) -> Answer:
    arms = {arm.arm: arm for arm in comparison.arms}
    reference = arms[family.baseline]
    members = [arms[name] for name in family.arms]
    if family.winner is None:
        return _missed(members, reference, found)
    best = arms[family.winner.arm]
    second = None if family.winner.runner_up is None else arms[family.winner.runner_up]
    said = [against(best, reference, family)]
    last = [*controls(best, members), *troubles([*members, reference])]
    if best.ratio is None or best.ratio.confidence is None:
        return _few_seeds(best, second, said, last, found)
    said += keeping_up(best, members, reference)
    fixed = next(
        (arm for arm in members
         if arm.record.schedule == "fixed" and arm.role != "control" and arm.gpus == best.gpus),
        None,
    )  # fmt: skip
    if fixed is not None:
        gain = None if fixed is best else pair_of(best, fixed)
        if gain is None or gain.low >= 1 / (1 + MARGIN):
            return _nothing_helps(best, fixed, said, last, found)
        if not is_faster(gain):
            said.append(unchanged(fixed))
            return _tie(best, fixed, gain, said, last, found)
    if second is None:
        head = f"{best.short} was the only arm" if len(members) == 1 else f"Use {best.short}"
        return Answer("one_arm", head, (*said, *last), use_of(best), None, best.short)
    lead = family.winner.lead
    said.append(runner_up(second))
    if is_faster(lead):
        assert lead is not None
        said.append(
            f"Against it, {best.short} needs {times(lead.ratio)} the samples ({interval(lead)})."
        )
        return Answer(
            "use", f"Use {best.short}", (*said, *last), use_of(best), None, best.short, second.short
        )
    return _tie(best, second, lead, said, last, found)


def _tie(
    best: ArmSummary,
    second: ArmSummary,
    lead: RatioEstimate | None,
    said: Sequence[str],
    last: Sequence[str],
    found: Sources,
) -> Answer:
    between = [] if lead is None else [_between(best, second, lead)]
    return Answer(
        "tie",
        f"Too close to call: {best.short} or {second.short}",
        (*said, *between, _for_now(best), *last),
        use_of(best),
        more_seeds(best, second, found),
        best.short,
        second.short,
    )


def _between(best: ArmSummary, second: ArmSummary, lead: RatioEstimate) -> str:
    """What is known of two arms that the seeds do not tell apart."""
    if lead.ratio == 0:
        return (
            f"The median run of {second.short} missed the target, so that the ratio of the two is "
            "not known: its interval includes 1."
        )
    return (
        f"Against it, {best.short} needs {times(lead.ratio)} the samples ({interval(lead)}), which "
        "includes 1."
    )


def _for_now(best: ArmSummary) -> str:
    return f"If you must choose now, take {best.short}: its median is the lowest."


def _nothing_helps(
    best: ArmSummary,
    fixed: ArmSummary,
    said: Sequence[str],
    last: Sequence[str],
    found: Sources,
) -> Answer:
    """No schedule is faster by more than the margin than to leave the learning rate as it is."""
    pair = None if best is fixed else pair_of(best, fixed)
    keep = f"Keep {fixed.short}, which leaves the learning rate as it is"
    step = None
    if best is fixed:
        keep += ": it needs the fewest samples"
    elif pair is not None:
        keep += f": against it, {best.short} needs {times(pair.ratio)} the samples"
        keep += f" ({interval(pair)}), which includes 1"
        step = more_seeds(best, fixed, found)
    head = "Nothing helps: no schedule is shown to be faster than the fixed rate"
    return Answer(
        "nothing_helps", head, (f"{keep}.", *said, *last), use_of(fixed), step, best.short
    )


def _few_seeds(
    best: ArmSummary,
    second: ArmSummary | None,
    said: Sequence[str],
    last: Sequence[str],
    found: Sources,
) -> Answer:
    n = best.ratio.n if best.ratio is not None else len(best.seeds)
    return Answer(
        "few_seeds",
        f"No answer yet: {counted(n, 'seed')}",
        (
            f"So far, {best.short} is the fastest.",
            *said,
            f"Another seed can change the order; {FEWEST_SEEDS} are the fewest that give an "
            "interval.",
            *last,
        ),
        use_of(best),
        more_seeds(best, second, found),
        best.short,
        None if second is None else second.short,
    )


def _missed(members: Sequence[ArmSummary], reference: ArmSummary, found: Sources) -> Answer:
    counts = ", ".join(
        f"{arm.short} {reached_of(arm)}/{len(arm.seeds)}" for arm in (*members, reference)
    )
    goal = target_words(reference)
    head = f"No arm reached {goal}"
    if median_of(reference) < math.inf:
        head = f"Only {reference.short} reached {goal}"
    said = [f"Runs that reached it: {counts}. An arm needs more than half of its runs."]
    if median_of(reference) < math.inf:
        said.append(f"{reference.short} needs {samples(median_of(reference))} samples.")
    values = [arm.median_best_value for arm in members]
    nearest = reference.criterion.best(values)
    # (A value at the target that the next evaluation did not confirm is not near: it is luck.)
    if nearest is not None and reference.criterion.sign * (nearest - (reference.target or 0)) < 0:
        name = members[values.index(nearest)].short
        said.append(f"{name} comes nearest: {number(nearest)} at its best (median).")
    step = easier(members, found, first=False)
    return Answer("missed", head, (*said, *troubles([*members, reference])), None, step)


def _no_baseline(arms: Sequence[ArmSummary], found: Sources) -> Answer:
    best, second = arms[:2]
    missed = [arm.short for arm in arms if not math.isfinite(median_of(arm))]
    said = []
    known = math.isfinite(median_of(best))
    if known:
        said.append(
            f"{best.short} needs the fewest samples to {target_words(best)}: "
            f"{samples(median_of(best))} (median of {counted(len(best.seeds), 'seed')})."
        )
        pair = pair_of(second, best)
        if pair is not None and math.isfinite(pair.ratio):
            close = pair.confidence is not None and not (pair.low > 1 or pair.high < 1)
            too_close = ", which is too close to call" if close else ""
            said.append(f"Runner-up {second.short}: {estimate_words(pair)} of that{too_close}.")
    said.append("These arms alone do not say what the larger batch costs.")
    if missed:
        said.append(f"Not reached in half of the runs: {', '.join(missed)}.")
    return Answer(
        "no_baseline",
        "No 1-GPU baseline: a ranking only",
        (*said, *troubles(arms)),
        use_of(best) if known else None,
        add_baseline(arms, found),
        best.short if known else None,
        second.short if known and math.isfinite(median_of(second)) else None,
    )


def _one_arm(arm: ArmSummary) -> Answer:
    median = median_of(arm)
    said = (
        f"{arm.short} needs {samples(median)} samples (median) to {target_words(arm)}"
        if math.isfinite(median)
        else f"{arm.short} does not reach {target_words(arm)} in half of its runs"
    )
    reached = f"{reached_of(arm)} of {counted(len(arm.seeds), 'run')} reached it."
    head = "One arm: there is nothing to compare it with"
    return Answer(
        "one_arm", head, (f"{said}; {reached}", *troubles([arm])), use_of(arm), study_of(arm)
    )
