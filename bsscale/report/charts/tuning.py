"""Searches for a learning rate, and range tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bsscale.objectives import Criterion
from bsscale.records.study_record import TuningRecord
from bsscale.report.charts.figure import (
    Figure,
    arm_encodings,
    chosen_arm,
    shown_points,
)
from bsscale.report.figures import GREY, inline, range_test_layers
from bsscale.report.read import FoundRangeTest, FoundStudy
from bsscale.report.tables import (
    Table,
    best_value,
    range_test_table,
    tuning_note,
    tuning_table,
)

if TYPE_CHECKING:
    pass

__all__ = ["range_test_figures", "tuning_figures"]


def tuning_figures(studies: Sequence[FoundStudy]) -> list[Figure | None]:
    """The results of each search for a learning rate: the metric, and samples to the target."""
    tunings = [
        Tuning(
            f"{study.record.name}: {tuning.name}" if len(studies) > 1 else tuning.name,
            tuning,
            study.record.registered.criterion,
        )
        for study in studies
        for tuning in study.record.tunings
        if tuning.trials
    ]
    criteria = list(dict.fromkeys(each.criterion for each in tunings))
    best = [
        _tuning(
            [each for each in tunings if each.criterion == criterion],
            f"tuning_{criterion.name}" if len(criteria) > 1 else "tuning",
            best_value([criterion]),
            lambda trial: trial.best_value,
        )
        for criterion in criteria
    ]
    samples = _tuning(
        tunings, "tuning_samples", "samples to the target", lambda trial: trial.samples_to_target
    )
    return [*best, samples]


class Tuning(NamedTuple):
    """One search, its name in the report, and what it was judged by."""

    label: str
    record: TuningRecord
    criterion: Criterion


def _tuning(
    tunings: Sequence[Tuning],
    name: str,
    quantity: str,
    value_of: Callable[[Any], float | None],
) -> Figure | None:
    import altair as alt

    rows, names, shown = [], [], []
    for label, tuning, criterion in tunings:
        own = [
            (trial.lr, value) for trial in tuning.trials if (value := value_of(trial)) is not None
        ]
        if own:
            names.append(label)
            shown.append(Tuning(label, tuning, criterion))
        for lr, value in own:
            at_edge = f"best, at the {tuning.edge} edge" if tuning.edge else "best"
            state = at_edge if lr == tuning.best else "tried"
            rows.append({"arm": label, "lr": lr, "value": value, "state": state})
    if not rows:
        return None
    states = ["tried", *sorted({str(row["state"]) for row in rows} - {"tried"})]
    marks = {"tried": "circle", "best": "diamond"}
    base = alt.Chart(inline(rows)).encode(
        x=alt.X(
            "lr:Q",
            title="learning rate",
            scale=alt.Scale(type="log", nice=False, padding=12),
            axis=alt.Axis(format="~g", labelOverlap=True, tickCount=5),
        ),
        y=alt.Y(
            "value:Q",
            title=quantity,
            scale=alt.Scale(zero=False),
            axis=alt.Axis(format="~s" if name == "tuning_samples" else "~g"),
        ),
    )
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        color=arm_encodings(names)["color"],
        shape=alt.Shape(
            "state:N",
            scale=alt.Scale(domain=states, range=[marks.get(s, "triangle-up") for s in states]),
            legend=alt.Legend(orient="bottom", columns=1, title=None, symbolFillColor=GREY),
        ),
        tooltip=["arm:N", alt.Tooltip("lr:Q"), alt.Tooltip("value:Q", title=quantity), "state:N"],
    )
    chosen, faint = chosen_arm()
    line = base.mark_line(strokeWidth=1.5).encode(opacity=faint, **arm_encodings(names))
    chart = alt.layer(line.add_params(chosen), points)
    notes = " ".join(tuning_note(each.record) for each in shown)
    table = [
        [each.label, *row]
        for each in shown
        for row in tuning_table(each.record, each.criterion).rows
    ]
    criteria = list(dict.fromkeys(each.criterion for each in shown))
    header = ("tuning", "learning rate", best_value(criteria), "samples to target", "seeds")
    return Figure(
        name,
        f"Tuning of the learning rate: {quantity}",
        notes,
        f"{quantity[0].upper()}{quantity[1:]} over the learning rates that were tried. {notes}",
        chart.properties(height=260),
        Table("Tuning", header, table),
        tuple(names),
    )


def range_test_figures(test: FoundRangeTest, suffix: str) -> list[Figure | None]:
    """Loss and metric over the learning rate, with one line for each seed."""
    rows = [
        {
            "seed": seed,
            "lr": point.lr,
            "loss": point.metrics.get(test.loss),
            "value": point.metrics.get(test.criterion.name),
        }
        for seed, points in test.curves.items()
        for point in shown_points(points, len(test.curves))
        if point.lr is not None and point.lr > 0
    ]
    if not rows:
        return []
    table = range_test_table(test)
    marked = ", ".join(f"{name} {value:.3g}" for name, value in test.marks.items())
    layers = range_test_layers(rows, test.marks, test.criterion, test.loss)
    return [
        Figure(
            f"range_test_{name}{suffix}",
            f"Range test: {title}",
            f"Validation {title} while the learning rate grows, a line a seed. "
            f"The suggestion: {test.reason or 'none'}.",
            f"Validation {title} over the learning rate of a range test. {marked}.",
            chart.properties(height=240),
            table,
        )
        for name, (title, chart) in layers.items()
    ]
