"""The tables of a report, for the terminal, the page and Markdown."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bsscale.objectives import Criterion
from bsscale.records.study_record import TuningRecord
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.ratio_words import interval, ratio_title, ratio_words, times
from bsscale.report.read import FoundRangeTest
from bsscale.stats import smallest_margin
from bsscale.terminal.numbers import metric_number as number
from bsscale.terminal.words import counted, status_words

__all__ = [
    "Table",
    "arms_table",
    "best_value",
    "missed",
    "number",
    "samples",
]


@dataclass(frozen=True)
class Table:
    """A table of text; its first column names the rows."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """For report.md."""
        lines = [self.header, ["---", *["---:"] * (len(self.header) - 1)]]
        cells = [[markdown(cell) for cell in row] for row in self.rows]
        return "\n".join("| " + " | ".join(row) + " |" for row in [*lines, *cells])


def arms_table(comparison: Comparison) -> Table:
    """Arms side by side: what a multirun ends with, and a report begins with."""
    compared = any(arm.baseline is not None for arm in comparison.arms)
    failed = any(arm.failed for arm in comparison.arms)
    judged = any(arm.target is not None for arm in comparison.arms)
    header = (
        "arm",
        "reached",
        "diverged",
        *(["failed"] if failed else []),
        "median samples to target",
        "range",
        *([ratio_title(comparison)] if compared else []),
        # A run stops at its target, so that a slow one has a better last value. Without a target,
        # all runs are as long.
        *([] if judged else [best_value(comparison.criteria)]),
    )
    mixed = len(comparison.criteria) > 1
    rows = [
        [
            *_arm_row(arm, failed),
            *(["baseline" if arm.is_baseline else ratio_words(arm)] if compared else []),
            *([] if judged else [_best(arm, mixed)]),
        ]
        for arm in comparison.arms
    ]
    return Table("Samples to target", header, rows)


def best_value(criteria: Sequence[Criterion]) -> str:
    """The column title of the best value, for runs that these metrics judge."""
    return f"best {criteria[0].title}" if len(criteria) == 1 else "best value"


def _best(arm: ArmSummary, mixed: bool) -> str:
    best = number(arm.median_best_value)
    return f"{arm.criterion.title} {best}" if mixed and arm.median_best_value is not None else best


def _arm_row(arm: ArmSummary, failed: bool) -> list[str]:
    spread, n = arm.samples_to_target, arm.trained
    return [
        arm.short,
        f"{arm.counts.get('reached', 0)}/{n}",
        f"{arm.counts.get('diverged', 0)}/{n}",
        *([str(arm.failed)] if failed else []),
        "-" if spread is None else missed(arm, spread.median),
        "-" if spread is None else _range(arm, spread.low, spread.high),
    ]


def missed(arm: ArmSummary, median: float = math.inf) -> str:
    """A median of samples, or in how many runs the target was missed where that has none."""
    if math.isfinite(median):
        return samples(median)
    return f"missed in {sum(math.isinf(each.samples) for each in arm.seeds)} of {len(arm.seeds)}"


def _range(arm: ArmSummary, low: float, high: float) -> str:
    """From the lowest to the highest; a run that missed the target needs more than it saw."""
    if math.isfinite(high):
        return f"{samples(low)} - {samples(high)}"
    seen = [run.record.samples_seen for run in arm.runs if run.record.status == "exhausted"]
    most = f"> {max(seen):,}" if seen else "missed"
    return most if math.isinf(low) else f"{samples(low)} - {most}"


def seeds_table(comparison: Comparison) -> Table:
    """Every run that had a target."""
    rows = []
    for arm in comparison.arms:
        trained = [run for run in arm.runs if run.record.status != "failed"]
        seen = {run.record.seed: run.record.samples_seen for run in trained}
        for result in arm.seeds:
            more = f"> {seen[result.seed]:,}" if result.status == "exhausted" else "-"
            needed = samples(result.samples) if math.isfinite(result.samples) else more
            status = status_words(result.status, spent=_spent(arm))
            rows.append([arm.short, str(result.seed), status, needed])
    return Table("Samples to target, seed by seed", ("arm", "seed", "status", "samples"), rows)


def _spent(arm: ArmSummary) -> str:
    """Why a run of an arm ended without its target."""
    return "its curve ends" if arm.imported else "budget spent"


def intervals_table(comparison: Comparison) -> Table:
    """The medians' confidence intervals."""
    rows = []
    for arm in comparison.arms:
        if arm.survival is not None:
            low, high = arm.survival.low, arm.survival.high
            ends = f"{samples(low)} - {samples(high)}" if math.isfinite(high) else "-"
            if math.isinf(high) and 0 < low < math.inf:
                ends = f"{samples(low)} or more"
            median = missed(arm, arm.survival.median)
            rows.append([arm.short, str(len(arm.seeds)), median, ends])
    header = ("arm", "runs", "median (Kaplan-Meier)", "its 95% interval")
    return Table("Median samples to target and its uncertainty", header, rows)


def ratios_table(comparison: Comparison) -> Table:
    """The intervals of each arm's ratio, on its own and together with those of the others."""
    rows = []
    for arm in comparison.arms:
        if arm.ratio is not None:
            margin = smallest_margin(arm.judged or arm.ratio)
            rows.append(
                [
                    arm.short + (" (primary)" if arm.primary else ""),
                    times(arm.ratio.ratio),
                    interval(arm.ratio),
                    interval(arm.together),
                    "-" if margin is None else f"{math.ceil(100 * margin)}%",
                ]
            )
    header = ("arm", "ratio", "on its own", "all together", "as fast within")
    return Table("Ratios to the baseline and their intervals", header, rows)


def easier_table(comparison: Comparison) -> Table:
    """The ratios at the target and at easier ones, each interval on its own."""
    rows = [
        [
            arm.short,
            number(each.target),
            "-" if place == 0 else number(each.easier_by),
            times(each.ratio.ratio),
            interval(each.ratio),
        ]
        for arm in comparison.arms
        for place, each in enumerate(arm.easier)
    ]
    header = ("arm", "target", "easier by", "ratio", "interval on its own")
    return Table("Ratios to the baseline at easier targets", header, rows)


def divergence_table(comparison: Comparison) -> Table:
    """How often runs diverged, with exact intervals; no rows where none did."""
    rows = [
        [
            arm.short,
            f"{seen.count}/{seen.n}",
            f"{100 * seen.low:.0f}% - {100 * seen.high:.0f}%",
        ]
        for arm in comparison.arms
        if (seen := arm.divergence) is not None
    ]
    some = any(arm.divergence and arm.divergence.count for arm in comparison.arms)
    header = ("arm", "diverged", "95% interval of the rate")
    return Table("Divergence", header, rows if some else [])


def left_out_table(comparison: Comparison) -> Table:
    """The runs that the report does not show, with reasons."""
    rows = [[each.directory, each.reason] for each in comparison.left_out]
    return Table("Left out", ("directory", "reason"), rows)


def tuning_table(tuning: TuningRecord, criterion: Criterion) -> Table:
    """The trials of one tuning, judged by a metric."""
    rows = [
        [
            f"{trial.lr:.4g}" + _standing(tuning, trial.lr),
            number(trial.best_value),
            "-" if trial.samples_to_target is None else samples(trial.samples_to_target),
            str(trial.seeds),
        ]
        for trial in tuning.trials
    ]
    header = ("learning rate", best_value([criterion]), "samples to target", "seeds")
    return Table(f"Tuning of {tuning.name}", header, rows)


def _standing(tuning: TuningRecord, lr: float) -> str:
    """Whether a rate is the best one, or not told apart from it."""
    if lr == tuning.best:
        return " (best)"
    return " (not told apart)" if lr in tuning.flat else ""


def tuning_note(tuning: TuningRecord) -> str:
    """One sentence about a tuning: its best rate, and whether it is at the edge of the grid."""
    best = f"{tuning.best:.4g}"
    text = f"{tuning.name}: best learning rate {best}"
    if tuning.gpus is not None:
        text += f" at {counted(tuning.gpus, 'GPU')}"
    text += f", over {tuning.samples:,} samples in all"
    if len(tuning.flat) > 1:
        low, high = min(tuning.flat), max(tuning.flat)
        text += f", not told apart from {len(tuning.flat) - 1} others from {low:.4g} to {high:.4g}"
    if tuning.provisional not in (None, tuning.best):
        text += f", {tuning.provisional:.4g} before there was a target"
    if tuning.extended:
        text += f", the grid extended {tuning.extended} x"
    if tuning.edge is not None:
        end = {"low": "lowest", "high": "highest"}.get(tuning.edge, tuning.edge)
        text += f". Warning: that is the {end} rate tried, so a better one may lie beyond"
    return text + "."


def range_test_table(test: FoundRangeTest) -> Table:
    """The readings of a range test over its seeds."""
    rows = [[name, *(f"{value:.3g}" for value in test.readings[name])] for name in test.readings]
    return Table("Range test", ("reading", "lowest", "median", "highest"), rows)


def samples(value: float) -> str:
    """A number of samples, or that the target was missed."""
    return f"{value:,.0f}" if math.isfinite(value) else "missed"


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, and no HTML."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", escaped)
