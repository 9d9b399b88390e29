"""Searches for a learning rate, each drawn by what its choice was made by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bsscale.objectives import Criterion
from bsscale.records.study_record import StudyRecord, TrialRecord, TuningRecord
from bsscale.report.charts.figure import (
    Figure,
    arm_color,
    arm_dash,
    arm_mark,
    count_axis,
    inline,
    names_at_right,
    styles_of,
    text_width,
)
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.drawing import Size
from bsscale.report.palette import DASHES, INK, MARKS, NOT_REACHED, Style
from bsscale.report.read import FoundStudy
from bsscale.report.tables import (
    Table,
    best_value,
    number,
    samples,
    tuning_note,
    tuning_table,
)
from bsscale.terminal.words import counted

__all__ = ["tuning_figures"]

HEIGHT = 240


@dataclass(frozen=True)
class Search:
    """One search for a rate.

    Attributes
    ----------
    label
        Its name in the report.
    record
        What it saw.
    criterion
        What its runs were judged by.
    style
        That of the arm that it was for.
    arm
        That arm; None where the report does not have it.
    """

    label: str
    record: TuningRecord
    criterion: Criterion
    style: Style
    arm: ArmSummary | None

    @property
    def by_samples(self) -> bool:
        """Whether the rate was chosen by the samples to a target, and not by the metric."""
        return any(trial.samples_to_target is not None for trial in self.record.trials)

    def value(self, trial: TrialRecord) -> float | None:
        """What the choice was made by; None where a trial has none."""
        return trial.samples_to_target if self.by_samples else trial.best_value


def tuning_figures(comparison: Comparison, studies: Sequence[FoundStudy]) -> list[Figure]:
    """A figure for the searches that chose by a metric, and one for those that chose by samples."""
    found = styles_of(comparison.arms)
    searches: list[Search] = []
    for study in studies:
        for tuning in study.record.tunings:
            if not any(trial.lr > 0 for trial in tuning.trials):
                continue
            label = f"{study.record.name}: {tuning.name}" if len(studies) > 1 else tuning.name
            arm = _arm_of(tuning, study, comparison)
            place = len(searches)  # (of a search whose arm is not here)
            own = Style(INK, DASHES[place % len(DASHES)], MARKS[place % len(MARKS)])
            style = own if arm is None else found[arm.short]
            criterion = study.record.registered.criterion
            searches.append(Search(label, tuning, criterion, style, arm))
    groups: dict[tuple[str, str], list[Search]] = {}
    for search in searches:
        metric = "" if search.by_samples else search.criterion.name
        groups.setdefault(("samples" if search.by_samples else "metric", metric), []).append(search)
    several = sum(kind == "metric" for kind, _ in groups) > 1
    return [
        _tuning(group, f"tuning_{metric}" if several else "tuning")
        if kind == "metric"
        else _tuning(group, "tuning_samples")
        for (kind, metric), group in groups.items()
    ]


def _arm_of(tuning: TuningRecord, study: FoundStudy, comparison: Comparison) -> ArmSummary | None:
    """The arm that was trained at a tuned rate: the baseline, or one whose own rate was tuned."""
    name = _name_of(tuning, study.record)
    for arm in comparison.arms:
        if arm.runs[0].study is study and arm.record.arm == name:
            return arm
    return None


def _name_of(tuning: TuningRecord, record: StudyRecord) -> str | None:
    if tuning.gpus == 1:
        return record.baseline
    name = tuning.name
    if tuning.momentum is not None:
        name = name.removesuffix(f"-momentum-{tuning.momentum:g}")
    if record.role(name) is not None:
        return name
    # (In older studies, a search has a name of its own.)
    tuned = [a.name for a in record.arms if a.rate == "tuned" and a.gpus == tuning.gpus]
    return tuned[0] if tuned else None


def _tuning(searches: Sequence[Search], name: str) -> Figure:
    criteria = list(dict.fromkeys(each.criterion for each in searches))
    by_samples = searches[0].by_samples
    quantity = "samples to the target" if by_samples else best_value(criteria)
    notes = " ".join(f"{tuning_note(each.record)}{_again(each)}" for each in searches)
    missed = any(each.value(trial) is None for each in searches for trial in each.record.trials)
    if missed:
        notes += (
            " A triangle is a rate that did not reach the target, or diverged."
            if by_samples
            else " A triangle is a rate whose runs have no value of the metric."
        )
    table = [
        [each.label, *row]
        for each in searches
        for row in tuning_table(each.record, each.criterion).rows
    ]
    header = ("tuning", "learning rate", best_value(criteria), "samples to target", "seeds")
    return Figure(
        name,
        f"Tuning of the learning rate, chosen by {quantity}",
        f"{notes} The largest mark is the rate that was chosen.",
        f"{quantity[0].upper()}{quantity[1:]} over the learning rates that were tried. {notes}",
        partial(_draw, searches, quantity),
        Table("Tuning", header, table),
        {each.label: each.style for each in searches} if len(searches) > 1 else {},
    )


def _again(search: Search) -> str:
    """Why the number of the chosen rate and that of its arm differ."""
    arm, best = search.arm, _best(search.record)
    if not search.by_samples or best is None or best.samples_to_target is None:
        return ""
    if arm is None or arm.samples_to_target is None or arm.record.base_lr != best.lr:
        return ""
    seeds = counted(best.seeds, "seed")
    return (
        f" There it needed {samples(best.samples_to_target)} samples on {seeds}; on the "
        f"{len(arm.seeds)} seeds of {arm.short} the median is "
        f"{samples(arm.samples_to_target.median)}. The best of {len(search.record.trials)} rates "
        "on few seeds is in part the luckiest, so only the second number counts."
    )


def _best(tuning: TuningRecord) -> TrialRecord | None:
    return next((trial for trial in tuning.trials if trial.lr == tuning.best), None)


def _draw(searches: Sequence[Search], quantity: str, size: Size) -> Any:
    import altair as alt

    by_samples, criterion = searches[0].by_samples, searches[0].criterion
    known = [
        value for each in searches for trial in each.record.trials
        if (value := each.value(trial)) is not None
    ]  # fmt: skip
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    bad_is_high = by_samples or criterion.sign < 0
    if by_samples and high > 4 * low > 0:  # (the choice lies among the best, not the worst)
        high = max(4 * low, 2 * sorted(known)[len(known) // 2])
    room = 0.12 * (high - low or abs(high) or 1.0)
    edge = high + room if bad_is_high else low - room
    limits = (low - room, high + 1.3 * room) if bad_is_high else (low - 1.3 * room, high + room)
    rows = [
        _row(each, trial, edge, limits, bad_is_high)
        for each in searches
        for trial in each.record.trials
        if trial.lr > 0
    ]
    keys = {each.label: each.style for each in searches}
    direction = "fewer" if by_samples else "higher" if criterion.sign > 0 else "lower"
    base = alt.Chart(inline(rows)).encode(
        x=alt.X(
            "lr:Q",
            title="learning rate (logarithmic)",
            scale=alt.Scale(type="log", nice=False, padding=12),
            axis=alt.Axis(format="~g", labelOverlap=True, tickCount=5, grid=False),
        ),
        y=alt.Y(
            "value:Q",
            title=f"{quantity} ({direction} is better)",
            scale=alt.Scale(domain=list(limits), zero=False, nice=False),
            axis=count_axis() if by_samples else alt.Axis(format="~g", tickCount=5),
        ),
        color=arm_color(keys),
    )
    line = (
        base.transform_filter("datum.state !== 'not reached'")
        .mark_line(strokeWidth=1.5, clip=True)
        .encode(strokeDash=arm_dash(keys))
    )
    shapes = arm_mark(keys, {"not reached": NOT_REACHED})
    points = base.mark_point(filled=True, opacity=1).encode(
        shape=shapes,
        size=alt.Size("size:Q", scale=None, legend=None),
        description="said:N",
    )
    layers: list[Any] = [line, points]
    width = size.plot
    if size.wide and len(searches) > 1:
        ends = {str(row["arm"]): float(row["value"]) for row in rows}  # (the last of each)
        width -= round(max(map(text_width, ends)))
        layers += names_at_right(ends, limits, HEIGHT, width, keys)
    return alt.layer(*layers).properties(width=width, height=HEIGHT)


def _row(
    search: Search, trial: TrialRecord, edge: float, limits: tuple[float, float], high: bool
) -> dict[str, Any]:
    value, best = search.value(trial), trial.lr == search.record.best
    outside = value is not None and high and value > limits[1]
    shown = "not reached" if value is None else (
        f"{value:,.0f} samples" if search.by_samples else number(value)
    )  # fmt: skip
    return {
        "arm": search.label,
        "lr": trial.lr,
        "value": edge if value is None or outside or not math.isfinite(value) else value,
        "state": "not reached" if value is None else "chosen" if best else "tried",
        "shape": "not reached" if value is None else search.label,
        "size": 220 if best else 70,
        "said": f"{search.label}\nlearning rate {trial.lr:.4g}: {shown}",
    }
