"""The sentences and tables of a report, for the terminal, the page and Markdown."""

from __future__ import annotations

import csv
import html
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from bsscale.objectives import Criterion
from bsscale.records.study_record import Amendment, Registered, TuningRecord
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.read import FoundRangeTest, FoundRun, FoundStudy
from bsscale.terminal.numbers import metric_number as number
from bsscale.terminal.tables import render_table

__all__ = [
    "Table",
    "arms_csv",
    "arms_table",
    "best_value",
    "headline",
    "number",
    "samples",
    "times",
]


@dataclass(frozen=True)
class Table:
    """A table of text; its first column names the rows."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """For a terminal."""
        return render_table("", self.header, self.rows)

    def markdown(self) -> str:
        """For report.md."""
        lines = [self.header, ["---", *["---:"] * (len(self.header) - 1)]]
        cells = [[markdown(cell) for cell in row] for row in self.rows]
        return "\n".join("| " + " | ".join(row) + " |" for row in [*lines, *cells])


def arms_table(comparison: Comparison) -> Table:
    """Arms side by side: what a multirun ends with, and a report begins with."""
    baselines = {arm.baseline for arm in comparison.arms if arm.baseline is not None}
    short = {arm.arm: arm.short for arm in comparison.arms}
    name = short[baselines.pop()] if len(baselines) == 1 else ""
    reference = name if 0 < len(name) <= 16 else "baseline"
    header = (
        "arm",
        "reached",
        "diverged",
        "median samples to target",
        "range",
        f"ratio to {reference}",
        best_value(comparison.criteria),
    )
    mixed = len(comparison.criteria) > 1
    return Table("Samples to target", header, [_arm_row(arm, mixed) for arm in comparison.arms])


def best_value(criteria: Sequence[Criterion]) -> str:
    """The column title of the best value, for runs that these metrics judge."""
    return f"best {criteria[0].title}" if len(criteria) == 1 else "best value"


def _arm_row(arm: ArmSummary, mixed: bool) -> list[str]:
    best = number(arm.median_best_value)
    spread, n = arm.samples_to_target, arm.trained
    return [
        arm.short,
        f"{arm.counts.get('reached', 0)}/{n}",
        f"{arm.counts.get('diverged', 0)}/{n}",
        "-" if spread is None else samples(spread.median),
        "-" if spread is None else f"{samples(spread.low)} - {samples(spread.high)}",
        _ratio(arm),
        f"{arm.criterion.title} {best}" if mixed and arm.median_best_value is not None else best,
    ]


def _ratio(arm: ArmSummary) -> str:
    if arm.is_baseline:
        return "baseline"
    if arm.ratio is None or math.isnan(arm.ratio.ratio):
        return "-"
    return times(arm.ratio.ratio) + _interval(arm)


def _interval(arm: ArmSummary) -> str:
    estimate = arm.ratio
    if estimate is None or estimate.confidence is None:
        return ""
    if math.isinf(estimate.high):
        return f" (at least {times(estimate.low)})" if estimate.low else " (any)"
    return f" ({times(estimate.low)} - {times(estimate.high)})"


def arms_csv(comparison: Comparison) -> str:
    """A row an arm, unrounded, for a spreadsheet; empty where there is no number."""
    file = io.StringIO()
    rows = []
    for arm in comparison.arms:
        row = {k: v for k, v in arm.as_dict().items() if k not in ("seeds", "ratio_to_baseline")}
        low, high = row.pop("median_interval") or (None, None)
        row |= {"median_low": low, "median_high": high}
        estimate = arm.ratio
        row |= {
            "ratio_to_baseline": None if estimate is None else estimate.ratio,
            "ratio_low": None if estimate is None else estimate.low,
            "ratio_high": None if estimate is None else estimate.high,
        }
        rows.append({key: _plain(value) for key, value in row.items()})
    writer = csv.DictWriter(file, list(rows[0]) if rows else ["arm"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    # A spreadsheet takes a text that begins like this for a formula.
    if isinstance(value, str) and value[:1] in "=+-@\t\r" and value:
        return "'" + value
    return "" if value is None else value


def headline(comparison: Comparison) -> str:
    """The verdict of a report, in a sentence."""
    arms = comparison.arms
    if not arms:
        return "There is no finished run to report on."
    compared = [arm for arm in arms if arm.ratio is not None]
    # The headline is about arms, not controls; a control only serves as a comparison.
    compared = [arm for arm in compared if arm.role != "control"] or compared
    if compared:
        best = min(compared, key=_rank)
        text = f"{_rank_text(best, compared)} {_verdict_text(best)} ({_interval_text(best)})"
        return f"{best.short}{text}."
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


def _rank(arm: ArmSummary) -> tuple[float, float]:
    assert arm.ratio is not None and arm.samples_to_target is not None
    value = arm.ratio.ratio
    return (math.inf if math.isnan(value) else value), arm.samples_to_target.median


def _rank_text(best: ArmSummary, compared: Sequence[ArmSummary]) -> str:
    control = "a control and " if best.role == "control" else ""
    if len(compared) > 1:
        return f", {control}the best of {len(compared)} arms,"
    return ", a control," if control else ""


def _verdict_text(arm: ArmSummary) -> str:
    """The verdict as a predicate that follows the name of the arm."""
    says = (arm.verdict or "").rstrip(".")
    states = ("as fast", "faster", "slower", "not told")
    return f"is {says}" if says.startswith(states) else says


def _interval_text(arm: ArmSummary) -> str:
    estimate = arm.ratio
    assert estimate is not None
    parts = [_target(arm)]
    if math.isfinite(estimate.ratio):
        parts.append(f"ratio of medians {times(estimate.ratio)}")
    sure = "" if estimate.confidence is None else f", {estimate.confidence:.0%} interval"
    parts.append(f"{estimate.n} seed{'s' if estimate.n != 1 else ''}{sure}")
    return "; ".join([*parts, _reached(arm)])


def _reached(arm: ArmSummary) -> str:
    text = f"{arm.counts['reached']} of its {arm.trained} runs reached it"
    diverged = arm.counts["diverged"]
    return f"{text} and {diverged} diverged" if diverged else text


def verdicts(comparison: Comparison) -> list[tuple[str, str]]:
    """Every arm's own verdict: label and sentence."""
    said = []
    for arm in comparison.arms:
        if arm.verdict is None:
            continue
        text = arm.verdict.rstrip(".") + "."
        if arm.seeds_needed is not None and arm.seeds_needed > len(arm.seeds):
            text += f" About {arm.seeds_needed} seeds each would tell the two apart."
        said.append((arm.short, text))
    return said


def seeds_table(comparison: Comparison) -> Table:
    """Every run that had a target."""
    rows = [
        [arm.short, str(result.seed), result.status, samples(result.samples)]
        for arm in comparison.arms
        for result in arm.seeds
    ]
    return Table("Samples to target, seed by seed", ("arm", "seed", "status", "samples"), rows)


def intervals_table(comparison: Comparison) -> Table:
    """The medians' confidence intervals."""
    rows = []
    for arm in comparison.arms:
        if arm.survival is not None:
            interval = f"{samples(arm.survival.low)} - {samples(arm.survival.high)}"
            rows.append([arm.short, str(len(arm.seeds)), samples(arm.survival.median), interval])
    header = ("arm", "runs", "median (Kaplan-Meier)", "its 95% interval")
    return Table("Median samples to target and its uncertainty", header, rows)


def left_out_table(comparison: Comparison) -> Table:
    """The runs that the report does not show, with reasons."""
    rows = [[each.directory, each.reason] for each in comparison.left_out]
    return Table("Left out", ("directory", "reason"), rows)


def tuning_table(tuning: TuningRecord, criterion: Criterion) -> Table:
    """The trials of one tuning, judged by a metric."""
    rows = [
        [
            f"{trial.lr:.4g}" + (" (best)" if trial.lr == tuning.best else ""),
            number(trial.best_value),
            "-" if trial.samples_to_target is None else samples(trial.samples_to_target),
            str(trial.seeds),
        ]
        for trial in tuning.trials
    ]
    header = ("learning rate", best_value([criterion]), "samples to target", "seeds")
    return Table(f"Tuning of {tuning.name}", header, rows)


def tuning_note(tuning: TuningRecord) -> str:
    """One sentence about a tuning: its best rate, and whether it is at the edge of the grid."""
    best = f"{tuning.best:.4g}"
    text = f"{tuning.name}: best learning rate {best}"
    if tuning.gpus is not None:
        text += f" at {tuning.gpus} GPU{'s' if tuning.gpus != 1 else ''}"
    if tuning.samples is not None:
        text += f", over {tuning.samples:,} samples a trial"
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


def plan_table(study: FoundStudy) -> Table:
    """The registered plan of a study."""
    rows = [[name, value] for name, value in _registered(study.record.registered).items()]
    return Table(f"{study.record.name}: as registered", ("what", "as registered"), rows)


def _registered(registered: Registered) -> dict[str, str]:
    """The registered plan as lines: a name and a value."""
    data = msgspec.to_builtins(registered)
    lines: dict[str, str] = {}
    for key, value in data.items():
        if key == "settings":
            lines |= {name: _shown(each) for name, each in value.items()}
        elif key != "arms":
            lines[key.replace("_", " ")] = _shown(value)
    for arm in registered.arms:
        described = ", ".join(f"{key}={_shown(each)}" for key, each in arm.schedule.items())
        lines[f"arm {arm.name}"] = f"{arm.role}, {arm.gpus} gpus: {described}"
    return lines


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_shown(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return "-" if value is None else str(value)


def _amended(amendment: Amendment) -> str:
    parts = []
    if amendment.arms_added:
        parts.append("arms added: " + ", ".join(arm.name for arm in amendment.arms_added))
    if amendment.seeds_added:
        parts.append("seeds added: " + ", ".join(map(str, amendment.seeds_added)))
    return "; ".join(parts)


def plan_followed(study: FoundStudy, runs: Iterable[FoundRun]) -> list[str]:
    """Sentences on whether the registered plan was followed."""
    done = {(r.record.arm, r.record.seed) for r in runs if r.study is study}
    names = [arm.name for arm in study.record.arms]
    missing = {arm: [s for s in study.record.seeds if (arm, s) not in done] for arm in names}
    more = sorted({arm for arm, _ in done} - set(names)) if names else []
    extra = (
        sorted({seed for _, seed in done} - set(study.record.seeds)) if study.record.seeds else []
    )
    said = [f"Amended: {_amended(each)}." for each in study.record.amendments]
    said += [f"Deviation: {each.rstrip('.')}." for each in study.record.deviations]
    for arm, seeds in missing.items():
        if seeds:
            which = ", ".join(map(str, seeds))
            said.append(f"Missing: {arm}, seed{'s' if len(seeds) > 1 else ''} {which}.")
    if more:
        said.append(f"Not registered: the arm{'s' if len(more) > 1 else ''} {', '.join(more)}.")
    if extra:
        said.append(f"Not registered: seeds {', '.join(map(str, extra))}.")
    planned = f"{len(study.record.arms)} arms x {len(study.record.seeds)} seeds"
    if not said:
        return [f"The registered plan was followed: {planned}, nothing missing, nothing added."]
    return [f"The registered plan was changed or not completed ({planned} in all).", *said]


def settings(comparison: Comparison) -> tuple[Table, Table]:
    """The configuration: what the arms differ in, and what they have in common."""
    configs = [_flat(arm.record.config) for arm in comparison.arms]
    for config, arm in zip(configs, comparison.arms, strict=True):
        record = arm.record
        rate = "-" if record.base_lr is None else f"{record.base_lr:g}"
        config |= {"base_lr": rate, "global_batch": str(record.global_batch)}
        config |= {"target": "none" if record.target is None else f"{record.target:g}"}
        config |= {"gpus": str(record.gpus), "budget_samples": f"{record.budget_samples:,}"}
        config |= {"eval_interval_samples": f"{record.eval_interval_samples:,}"}
    keys = sorted({key for config in configs for key in config})
    differ = [key for key in keys if len({config.get(key) for config in configs}) > 1]
    header = ("setting", *(arm.short for arm in comparison.arms))
    rows = [[key, *(config.get(key, "") for config in configs)] for key in differ]
    common = [[key, configs[0][key]] for key in keys if key not in differ]
    return (
        Table("What the arms differ in", header, rows),
        Table("What all arms have in common", ("setting", "value"), common),
    )


_NOT_SETTINGS = ("seed", "tracker", "task", "dry_run")


def _flat(config: Mapping[Any, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in _NOT_SETTINGS or value is None:
            continue
        if isinstance(value, Mapping):
            found |= _flat(value, f"{name}.")
        else:
            found[name] = str(value)
    return found


def versions_table(comparison: Comparison) -> Table:
    """The settings of the runs; several values if the runs differ."""
    values: dict[str, dict[str, None]] = {}
    for arm in comparison.arms:
        for run in arm.runs:
            for key, value in _flat(run.record.environment).items():
                values.setdefault(key, {})[value] = None
    rows = [[key, "; ".join(values[key])] for key in values]
    return Table("Versions and machine", ("what", "value"), rows)


def cost(comparison: Comparison, studies: Sequence[FoundStudy]) -> str:
    """The cost of the shown runs, and of each whole study."""
    runs = [run.record for arm in comparison.arms for run in arm.runs]
    text = (
        f"{len(runs)} runs, {sum(run.samples_seen for run in runs):,} samples, "
        f"{_duration(sum(run.wall_s for run in runs))} of training."
    )
    for study in studies:
        spent = study.record.cost
        text += (
            f" {study.record.name} in all, tuning included: {spent.samples:,} samples, "
            f"{_duration(spent.wall_s)}."
        )
    return text


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def times(value: float) -> str:
    """A ratio, or a dash."""
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if math.isfinite(value) else "inf"


def samples(value: float) -> str:
    """A number of samples, or "censored"."""
    return f"{value:,.0f}" if math.isfinite(value) else "censored"


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, and no HTML."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", escaped)
