"""What a report says of curves from elsewhere: their sources, and what is not known of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from bsscale.bridge.curves import Origin
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.sources import FoundRun
from bsscale.report.tables import Table, samples
from bsscale.terminal.words import counted

__all__ = ["imported_limits", "imported_table", "source_words"]

# Evaluations are coarse if the interval in which the target was reached is a larger share of the
# samples to it: differences of that size between arms may be of the grid.
COARSE = 0.05


def source_words(comparison: Comparison) -> str:
    """Where imported curves come from, in a few words; empty where there are none."""
    origins = [origin for arm in comparison.arms for _, origin in _imported(arm)]
    names = dict.fromkeys(f"{each.path.name} ({each.format})" for each in origins)
    if not names:
        return ""
    first, *others = names
    more = f" and {counted(len(others), 'other')}" if others else ""
    return f"curves imported from {first}{more}"


def imported_table(comparison: Comparison) -> Table:
    """The sources of each imported arm, and how often its runs were evaluated."""
    rows = []
    for arm in comparison.arms:
        runs = _imported(arm)
        if not runs:
            continue
        paths = dict.fromkeys(str(origin.path) for _, origin in runs)
        formats = dict.fromkeys(origin.format for _, origin in runs)
        shown = [*list(paths)[:2], *([f"{len(paths) - 2} more"] if len(paths) > 2 else [])]
        rows.append(
            [
                arm.short,
                ", ".join(shown),
                ", ".join(formats),
                str(len(runs)),
                _spread([len(run.evals) for run, _ in runs]),
                _spread([run.record.eval_interval_samples for run, _ in runs]),
                "in the source" if all(origin.has_seed for _, origin in runs) else "numbered",
            ]
        )
    header = ("arm", "source", "format", "runs", "evaluations", "samples between them", "seeds")
    return Table("Imported curves", header, rows)


def imported_limits(comparison: Comparison) -> list[str]:
    """Sentences on what imported curves do not say, and on how they were judged."""
    arms = [arm for arm in comparison.arms if _imported(arm)]
    if not arms:
        return []
    whole = len(arms) == len(comparison.arms)
    which = "All arms are" if whole else f"{_names(arms)} {'is' if len(arms) == 1 else 'are'}"
    said = [
        f"{which} imported from curves that were recorded elsewhere. They were not registered: "
        "nothing shows whether arms, seeds, metric or target were chosen after their results were "
        "known.",
        "Budgets and settings of imported curves are not recorded. A run that ends before the "
        "target counts as censored where it ends, also if its budget was smaller than that of "
        "others; whether all arms had the same data, validation split and model is not known.",
    ]
    said += [
        each
        for arm in arms
        for each in (_unconfirmed(arm), _from_the_start(arm), _coarse(arm))
        if each is not None
    ]
    diverged = [arm for arm in arms if arm.counts.get("diverged")]
    if diverged:
        said.append(
            f"A run counts as diverged if its last value is not finite ({_names(diverged)}). It is "
            "censored at the samples of the longest imported curve."
        )
    numbered = [arm for arm in arms if not all(origin.has_seed for _, origin in _imported(arm))]
    if numbered:
        said.append(
            f"Seeds are not in the sources of {_names(numbered)}: runs are numbered in their "
            "order, so that runs with the same number have nothing in common."
        )
    return said


def _imported(arm: ArmSummary) -> list[tuple[FoundRun, Origin]]:
    return [(run, run.imported) for run in arm.runs if run.imported is not None]


def _unconfirmed(arm: ArmSummary) -> str | None:
    count, reached = _count(arm, lambda origin: origin.hit_at_end)
    if not count:
        return None
    return (
        f"{arm.short}: {count} of {counted(reached, 'run')} that reached the target did so at the "
        "last evaluation, which no other confirms. It counts, because these runs ended by a rule "
        "of their own; one lucky evaluation would count too."
    )


def _from_the_start(arm: ArmSummary) -> str | None:
    count, reached = _count(arm, lambda origin: origin.hit_at_start)
    if not count:
        return None
    return (
        f"{arm.short}: {count} of {counted(reached, 'run')} that reached the target did so by the "
        "first evaluation. When before it is not known: the interval begins at 0, and the samples "
        "are those of that evaluation."
    )


def _count(arm: ArmSummary, matches: Callable[[Origin], bool]) -> tuple[int, int]:
    """Of the imported runs that reached the target: those that match, and all."""
    reached = [origin for run, origin in _imported(arm) if run.record.status == "reached"]
    return sum(map(matches, reached)), len(reached)


def _coarse(arm: ArmSummary) -> str | None:
    """How coarse the evaluations are, if that limits what the arm's samples say."""
    widths = []
    for run, _ in _imported(arm):
        interval, needed = run.record.samples_to_target_interval, run.record.samples_to_target
        if interval is not None and needed:
            widths.append((interval[1] - interval[0], (interval[1] - interval[0]) / needed))
    if not widths:
        return None
    width = statistics.median(width for width, _ in widths)
    share = statistics.median(share for _, share in widths)
    if share <= COARSE:
        return None
    return (
        f"{arm.short} was evaluated coarsely: the target was reached between two evaluations that "
        f"are {samples(width)} samples apart, {100 * share:.0f}% of the samples to it (medians). "
        "Between them the metric is interpolated; a difference from another arm that is smaller "
        "than that may be the grid's."
    )


def _names(arms: Sequence[ArmSummary]) -> str:
    names = [arm.short for arm in arms]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _spread(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} - {high:,}"
