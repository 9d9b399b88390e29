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

# Evaluations are coarse if the two around the target are further apart than this share of the
# samples to it.
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
    said += [each for each in (_unconfirmed(arms), _from_the_start(arms), _coarse(arms)) if each]
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


def _unconfirmed(arms: Sequence[ArmSummary]) -> str:
    """How many hits are the last point of their curve."""
    counts = _counts(arms, lambda origin: origin.hit_at_end)
    if not counts:
        return ""
    return (
        f"Runs that reached the target at their last evaluation, which no other confirms: "
        f"{counts}. They count, because they may have stopped there; one lucky evaluation would "
        "count too."
    )


def _from_the_start(arms: Sequence[ArmSummary]) -> str:
    """How many hits are the first point of their curve."""
    counts = _counts(arms, lambda origin: origin.hit_at_start)
    if not counts:
        return ""
    return (
        f"Runs that were at the target at their first evaluation: {counts}. When they reached it "
        "is not known: the interval begins at 0, and the samples are those of that evaluation."
    )


def _counts(arms: Sequence[ArmSummary], matches: Callable[[Origin], bool]) -> str:
    """Of each arm the runs that match, of those that reached the target; empty if none match."""
    said = []
    for arm in arms:
        reached = [origin for run, origin in _imported(arm) if run.record.status == "reached"]
        if count := sum(map(matches, reached)):
            said.append(f"{count} of {len(reached)} of {arm.short}")
    return ", ".join(said)


def _coarse(arms: Sequence[ArmSummary]) -> str:
    """How coarse the evaluations are, of the arms whose samples it limits."""
    said = []
    for arm in arms:
        widths = [
            (interval[1] - interval[0], (interval[1] - interval[0]) / run.record.samples_to_target)
            for run, _ in _imported(arm)
            if (interval := run.record.samples_to_target_interval) and run.record.samples_to_target
        ]
        share = statistics.median([share for _, share in widths] or [0.0])
        if share > COARSE:
            apart = samples(statistics.median(width for width, _ in widths))
            said.append(f"{arm.short} {apart} ({100 * share:.0f}% of its samples to the target)")
    if not said:
        return ""
    return (
        "Evaluations are coarse. The samples between the two around the target, by the median: "
        f"{', '.join(said)}. The metric is interpolated between them, so that smaller differences "
        "between arms may come from the grid alone."
    )


def _names(arms: Sequence[ArmSummary]) -> str:
    names = [arm.short for arm in arms]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _spread(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} - {high:,}"
