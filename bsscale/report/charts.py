"""The figures of a report: each one specification, with its data as a table and its text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bsscale.records.study_record import TuningRecord
from bsscale.report.figures import GREY, colors, dashes, inline, range_test_layers
from bsscale.report.read import FoundRangeTest, FoundStudy
from bsscale.report.summarize import QUARTILES_FROM, ArmSummary, Comparison, CurvePoint
from bsscale.report.tables import (
    Table,
    number,
    range_test_table,
    samples,
    seeds_table,
    tuning_note,
    tuning_table,
)

if TYPE_CHECKING:
    import altair as alt

__all__ = ["Figure", "figures"]

# More points than this a line are not seen, and more than this in all make the page heavy.
MOST_POINTS, MOST_POINTS_IN_ALL = 300, 2000
MOST_ROWS, MOST_ROWS_IN_ALL = 60, 600
ROW_HEIGHT = 60
STAIRS = "cycle_first_stair_count"
_SHAPES = {"reached": "circle", "not reached": "triangle-right", "diverged": "cross"}


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name
        Its file's name, without an ending.
    title, caption
        Above it.
    text
        What it shows, for who does not see it.
    chart
        An Altair chart without a width.
    table
        Its data.
    keys
        The names behind its colours and dashes, in the order of the palette.
    """

    name: str
    title: str
    caption: str
    text: str
    chart: alt.LayerChart | alt.FacetChart | alt.Chart
    table: Table
    keys: tuple[str, ...] = ()


def figures(
    comparison: Comparison, studies: Sequence[FoundStudy], range_tests: Sequence[FoundRangeTest]
) -> list[Figure]:
    """Every figure that the records have the data for, in the order of the report."""
    made = [
        draw(comparison)
        for draw in (_samples_to_target, _convergence, _learning_rate, _momentum, _stairs)
    ]
    made += _tunings(studies)
    for position, test in enumerate(range_tests):
        made += _range_test(test, f"-{position + 1}" if len(range_tests) > 1 else "")
    return [figure for figure in made if figure is not None]


def _arm_encodings(names: Sequence[str], *, dashed: bool = True) -> dict[str, Any]:
    """A colour and a dash pattern for each arm, the same in every figure."""
    import altair as alt

    # One name a line, under the figure: a phone is narrower than two names. A line is its symbol
    # even where points or a band share the legend.
    legend = alt.Legend(
        orient="bottom",
        columns=1,
        title=None,
        labelLimit=310,
        symbolType="stroke",
        symbolSize=700,
        symbolStrokeWidth=2,
        symbolOpacity=1,
    )
    found: dict[str, Any] = {
        "color": alt.Color(
            "arm:N",
            scale=alt.Scale(domain=list(names), range=colors(names)),
            legend=legend,
        )
    }
    if dashed:
        found["strokeDash"] = alt.StrokeDash(
            "arm:N", scale=alt.Scale(domain=list(names), range=dashes(names)), legend=legend
        )
    return found


def _chosen() -> tuple[Any, Any]:
    """A parameter that names the arm to bring out, and the opacity that does so."""
    import altair as alt

    chosen = alt.param("chosen", value="")
    bright = alt.when("!chosen || datum.arm === chosen").then(alt.value(1))
    return chosen, bright.otherwise(alt.value(0.15))


def _sample_axis(**settings: Any) -> alt.X:
    import altair as alt

    axis = alt.Axis(format="~s", tickCount=6, labelOverlap=True)
    return alt.X("samples:Q", title=settings.pop("title", "samples"), axis=axis, **settings)


def _shown_points(points: Sequence[Any], lines: int = 1) -> list[Any]:
    """What is drawn of one of so many lines."""
    return _thinned(points, min(MOST_POINTS, MOST_POINTS_IN_ALL // lines))


def _shown_rows(points: Sequence[Any], lines: int) -> list[Any]:
    """What a table shows of one of so many lines."""
    return _thinned(points, min(MOST_ROWS, MOST_ROWS_IN_ALL // lines))


def _digits(value: float) -> float:
    """As many digits as are seen."""
    return float(f"{value:.6g}")


def _thinned(points: Sequence[Any], most: int) -> list[Any]:
    most = max(most, 4)
    if len(points) <= most:
        return list(points)
    last = len(points) - 1
    return [points[round(each * last / (most - 1))] for each in range(most)]


# --- samples to target ------------------------------------------------------------------------


def _samples_to_target(comparison: Comparison) -> Figure | None:
    import altair as alt

    arms = [arm for arm in comparison.arms if arm.seeds]
    if not arms:
        return None
    names = [arm.short for arm in arms]
    numbers = [r.samples for arm in arms for r in arm.seeds if math.isfinite(r.samples)]
    cut_off = max(run.record.samples_seen for arm in arms for run in arm.runs)
    highest = max(numbers, default=cut_off) or 1
    any_censored = any(math.isinf(result.samples) for arm in arms for result in arm.seeds)
    edge = 1.08 * highest if any_censored else highest
    points, spans, medians = [], [], []
    for arm in arms:
        for place, result in enumerate(arm.seeds):
            missed = math.isinf(result.samples)
            # Seeds lie above one another, so that equal ones are both seen.
            offset = (place % 5 - 2) * 4
            points.append(
                {
                    "arm": arm.short,
                    "samples": edge if missed else _digits(result.samples),
                    "shown": "not reached" if missed else f"{result.samples:,.0f}",
                    "seed": result.seed,
                    "offset": offset,
                    "state": "diverged" if result.status == "diverged"
                    else "not reached" if missed else "reached",
                }
            )  # fmt: skip
        assert arm.samples_to_target is not None and arm.survival is not None
        if math.isfinite(arm.samples_to_target.median):
            medians.append({"arm": arm.short, "samples": arm.samples_to_target.median})
        # Fewer than six seeds bound a median on neither side.
        if arm.survival.low > 0 or math.isfinite(arm.survival.high):
            low, high = arm.survival.low, min(arm.survival.high, edge)
            spans.append(
                {
                    "arm": arm.short,
                    "low": min(low, edge),
                    "high": high,
                    "interval": f"{samples(arm.survival.low)} to {samples(arm.survival.high)}",
                }
            )
    x = _sample_axis(
        title="samples to the target", scale=alt.Scale(domain=[0, edge * 1.02], nice=False)
    )
    y = alt.Y("arm:N", sort=names, title=None, axis=None, scale=alt.Scale(domain=names))
    color = _arm_encodings(names, dashed=False)["color"]
    color.legend = None
    rows = alt.Chart(inline([{"arm": name} for name in names]))
    titles = rows.mark_text(align="left", baseline="bottom", dy=-15, limit=330, fontSize=12).encode(
        x=alt.value(0), y=y, text="arm:N"
    )
    interval = alt.Chart(inline(spans)).mark_rule(strokeWidth=7, opacity=0.35).encode(
        x=alt.X("low:Q"), x2="high:Q", y=y, color=color, tooltip=["arm:N", "interval:N"]
    )  # fmt: skip
    median = alt.Chart(inline(medians)).mark_tick(thickness=3, size=22, opacity=1).encode(
        x=x, y=y, color=color, tooltip=["arm:N", alt.Tooltip("samples:Q", format=",.0f")]
    )  # fmt: skip
    seeds = alt.Chart(inline(points)).mark_point(size=45, filled=True, opacity=0.85).encode(
        x=x,
        y=y,
        yOffset=alt.YOffset("offset:Q", scale=alt.Scale(domain=[-30, 30], range=[0, ROW_HEIGHT])),
        color=color,
        shape=alt.Shape(
            "state:N",
            scale=alt.Scale(domain=list(_SHAPES), range=list(_SHAPES.values())),
            legend=alt.Legend(orient="bottom", columns=1, title=None, symbolFillColor=GREY),
        ),
        tooltip=["arm:N", "seed:Q", "state:N", alt.Tooltip("shown:N", title="samples")],
    )  # fmt: skip
    chart = alt.layer(interval, median, seeds, titles).properties(
        height=ROW_HEIGHT * len(names) + 10
    )
    said = "; ".join(
        f"{arm.short}: median {samples(arm.samples_to_target.median)}, "
        f"{arm.counts['reached']} of {arm.trained} reached"
        for arm in arms
        if arm.samples_to_target is not None
    )
    return Figure(
        "samples_to_target",
        "Samples to the target",
        "A point a seed; the thin bar is the median, the wide one its 95% interval (Kaplan-Meier; "
        "open to an edge, or not drawn, where the seeds do not bound it). Runs that did not reach "
        "the target lie at the right edge: they need more than is shown.",
        f"Samples to the target by arm. {said}.",
        chart,
        seeds_table(comparison),
    )


# --- curves over samples ----------------------------------------------------------------------


def _convergence(comparison: Comparison) -> Figure | None:
    import altair as alt

    arms = [arm for arm in comparison.arms if arm.curve]
    if not arms:
        return None
    names = [arm.short for arm in arms]
    rows = [
        {
            "arm": arm.short,
            "samples": p.samples,
            "auc": _digits(p.median),
            "low": _digits(p.low),
            "high": _digits(p.high),
        }
        for arm in arms
        for p in _shown_points(arm.curve, len(arms))
    ]
    targets = sorted({arm.target for arm in arms if arm.target is not None})
    longest = max(arm.curve[-1].samples for arm in arms)
    floor = _floor(arms, targets, longest)
    scale = alt.Scale(domainMin=floor, zero=False, nice=False)
    # (The data are those of the whole figure: in each layer, they would be there twice.)
    base = alt.Chart().encode(x=_sample_axis(scale=alt.Scale(nice=False)))
    chosen, faint = _chosen()
    band = base.mark_area(opacity=0.15, clip=True).encode(
        y=alt.Y("low:Q", title="validation AUC", scale=scale),
        y2="high:Q",
        color=_arm_encodings(names)["color"],
    )
    line = (
        base.mark_line(strokeWidth=2, clip=True)
        .encode(
            y=alt.Y("auc:Q", title="validation AUC", scale=scale),
            opacity=faint,
            tooltip=[
                "arm:N",
                alt.Tooltip("samples:Q", format=",.0f"),
                alt.Tooltip("auc:Q", title="median AUC", format=".4f"),
                alt.Tooltip("low:Q", format=".4f"),
                alt.Tooltip("high:Q", format=".4f"),
            ],
            **_arm_encodings(names),
        )
        .add_params(chosen)
    )
    marks = [{"auc": each, "label": f"target {each:.4g}"} for each in targets]
    rule = alt.Chart(inline(marks)).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="auc:Q")
    label = (
        alt.Chart(inline(marks))
        .mark_text(align="left", baseline="bottom", dx=4, dy=-2, color=GREY)
        .encode(x=alt.value(0), y="auc:Q", text="label:N")
    )
    chart = alt.layer(band, rule, label, line, data=inline(rows)).properties(height=300)
    ends = "; ".join(f"{arm.short} ends at {number(arm.curve[-1].median)}" for arm in arms)
    all_seeds = max(len(arm.runs) for arm in arms)
    band_text = (
        f"the middle half of the seeds (all of them, with fewer than {QUARTILES_FROM})"
        if all_seeds >= QUARTILES_FROM
        else "from the lowest to the highest seed"
    )
    table = [
        [arm.short, f"{p.samples:,}", number(p.median), number(p.low), number(p.high)]
        for arm in arms
        for p in _shown_rows(arm.curve, len(arms))
    ]
    return Figure(
        "convergence",
        "Model convergence",
        f"Validation AUC over samples: the median over seeds, and {band_text}. A run that has "
        "stopped keeps its last AUC. The steep beginning is cut off.",
        f"Validation AUC over samples by arm. {ends}.",
        chart,
        Table("Model convergence", ("arm", "samples", "median AUC", "low", "high"), table),
        tuple(names),
    )


def _floor(arms: Sequence[ArmSummary], targets: Sequence[float], longest: int) -> float:
    """Where the AUC axis begins, so that the steep first evaluations do not flatten the rest."""

    def at(curve: Sequence[CurvePoint], place: float) -> float:
        return next((p.low for p in curve if p.samples >= place), curve[-1].low)

    lows = [at(arm.curve, longest / 20) for arm in arms]
    highest = max(p.high for arm in arms for p in arm.curve)
    floor = max(min([*lows, *targets]), highest - 0.12)
    return round(floor - 0.02 * (highest - floor) - 5e-4, 4)


def _learning_rate(comparison: Comparison) -> Figure | None:
    return _schedule(
        comparison,
        "learning_rate",
        "Learning rate",
        "Learning rate over samples (logarithmic), as recorded at each evaluation.",
        lambda point: point.lr,
    )


def _momentum(comparison: Comparison) -> Figure | None:
    return _schedule(
        comparison,
        "momentum",
        "Momentum",
        "Momentum (SGD) or beta1 (Adam) over samples (logarithmic), as recorded at each "
        "evaluation.",
        lambda point: point.momentum,
    )


def _schedule(
    comparison: Comparison,
    name: str,
    title: str,
    caption: str,
    value_of: Callable[[Any], float | None],
) -> Figure | None:
    import altair as alt

    rows: list[dict[str, Any]] = []
    names = []
    for arm in comparison.arms:
        # A schedule does not depend on the seed: the run that went on longest shows most of it.
        longest = max((run.evals for run in arm.runs), key=lambda evals: (
            evals[-1].samples if evals else -1
        ))  # fmt: skip
        points = [
            (p.samples, value) for p in longest
            if (value := value_of(p)) is not None and p.samples > 0
        ]  # fmt: skip
        if points:
            names.append(arm.short)
            points = _shown_points(points, len(comparison.arms))
            rows += [{"arm": arm.short, "samples": x, "value": _digits(y)} for x, y in points]
    if not rows:
        return None
    values = [row["value"] for row in rows]
    # A rate that falls by orders of magnitude is only readable on a logarithmic axis.
    wide = name == "learning_rate" and min(values) > 0 and max(values) > 30 * min(values)
    scale = alt.Scale(type="log") if wide else alt.Scale(zero=name == "learning_rate")
    chosen, faint = _chosen()
    chart = (
        alt.Chart(inline(rows))
        .mark_line(strokeWidth=2)
        .encode(
            opacity=faint,
            x=_sample_axis(scale=alt.Scale(type="log", nice=False)),
            y=alt.Y("value:Q", title=title.lower(), scale=scale, axis=alt.Axis(format="~g")),
            tooltip=[
                "arm:N",
                alt.Tooltip("samples:Q", format=",.0f"),
                alt.Tooltip("value:Q", title=title.lower(), format=".4~g"),
            ],
            **_arm_encodings(names),
        )
        .add_params(chosen)
        .properties(height=240)
    )
    said = []
    for each in names:
        own = [row["value"] for row in rows if row["arm"] == each]
        low, high = min(own), max(own)
        said.append(f"{each}: {low:.4g}" + ("" if low == high else f" to {high:.4g}"))
    by_arm = {each: [row for row in rows if row["arm"] == each] for each in names}
    table = [
        [each, f"{row['samples']:,}", f"{row['value']:.4g}"]
        for each in names
        for row in _shown_rows(by_arm[each], len(names))
    ]
    return Figure(
        name,
        title,
        caption,
        f"{title} over samples by arm. {'; '.join(said)}.",
        chart,
        Table(title, ("arm", "samples", title.lower()), table),
        tuple(names),
    )


# --- sweeps over the stair count --------------------------------------------------------------


def _stairs(comparison: Comparison) -> Figure | None:
    import altair as alt

    counted = []
    for arm in comparison.arms:
        schedule = arm.record.config.get("schedule")
        count = schedule.get(STAIRS) if isinstance(schedule, dict) else None
        if isinstance(count, int) and not isinstance(count, bool) and arm.seeds:
            words = [word for word in arm.short.split() if STAIRS not in word]
            counted.append((count, " ".join(words) or arm.record.schedule, arm))
    counts = sorted({count for count, _, _ in counted})
    if len(counts) < 2:
        return None
    names = list(dict.fromkeys(rest for _, rest, _ in counted))
    finite = [r.samples for _, _, arm in counted for r in arm.seeds if math.isfinite(r.samples)]
    edge = 1.08 * max(finite, default=1.0)
    points, medians, table = [], [], []
    for count, rest, arm in sorted(counted, key=lambda each: each[0]):
        assert arm.samples_to_target is not None
        median = arm.samples_to_target.median
        if math.isfinite(median):
            medians.append({"arm": rest, "stairs": str(count), "samples": median})
        reached = f"{arm.counts['reached']}/{arm.trained}"
        table.append([str(count), rest, samples(median), reached])
        for result in arm.seeds:
            missed = math.isinf(result.samples)
            points.append(
                {
                    "arm": rest,
                    "stairs": str(count),
                    "samples": edge if missed else _digits(result.samples),
                    "state": "not reached" if missed else "reached",
                    "seed": result.seed,
                }
            )
    encodings = _arm_encodings(names)
    x = alt.X(
        "stairs:O",
        sort=[str(count) for count in counts],
        title="stairs of the rise (0: continuous)",
        axis=alt.Axis(labelAngle=0),
    )
    y = alt.Y("samples:Q", title="samples to the target", axis=alt.Axis(format="~s"))
    # Side by side, or the points of several lines hide each other.
    beside = alt.XOffset("arm:N", scale=alt.Scale(domain=names, paddingOuter=0.3))
    dots = (
        alt.Chart(inline(points))
        .mark_point(size=30, filled=True, opacity=0.7)
        .encode(
            x=x,
            xOffset=beside,
            y=y,
            color=encodings["color"],
            shape=alt.Shape(
                "state:N",
                scale=alt.Scale(domain=["reached", "not reached"], range=["circle", "triangle-up"]),
                legend=alt.Legend(orient="bottom", columns=1, title=None, symbolFillColor=GREY),
            ),
            tooltip=["arm:N", "stairs:O", "seed:Q", "state:N"],
        )
    )
    chosen, faint = _chosen()
    line = (
        alt.Chart(inline(medians))
        .mark_line(strokeWidth=2)
        .encode(x=x, xOffset=beside, y=y, opacity=faint, **encodings)
        .add_params(chosen)
    )
    said = "; ".join(f"{row[0]} stairs, {row[1]}: {row[2]}" for row in table)
    return Figure(
        "stairs",
        "Samples to the target by stair count",
        "A point a seed, the line through the medians. Runs that did not reach the target lie at "
        "the upper edge.",
        f"Median samples to the target by cycle_first_stair_count. {said}.",
        alt.layer(line, dots).properties(height=260),
        Table("By stair count", ("stairs", "arm", "median samples to target", "reached"), table),
        tuple(names),
    )


# --- tuning and range test --------------------------------------------------------------------


def _tunings(studies: Sequence[FoundStudy]) -> list[Figure | None]:
    tunings = [
        (f"{study.record.name}: {tuning.name}" if len(studies) > 1 else tuning.name, tuning)
        for study in studies
        for tuning in study.record.tunings
        if tuning.trials
    ]
    return [
        _tuning(tunings, "tuning", "best AUC", lambda trial: trial.best_value),
        _tuning(
            tunings,
            "tuning_samples",
            "samples to the target",
            lambda trial: trial.samples_to_target,
        ),
    ]


def _tuning(
    tunings: Sequence[tuple[str, TuningRecord]],
    name: str,
    quantity: str,
    value_of: Callable[[Any], float | None],
) -> Figure | None:
    import altair as alt

    rows, names, shown = [], [], []
    for label, tuning in tunings:
        own = [
            (trial.lr, value) for trial in tuning.trials if (value := value_of(trial)) is not None
        ]
        if own:
            names.append(label)
            shown.append(tuning)
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
        color=_arm_encodings(names)["color"],
        shape=alt.Shape(
            "state:N",
            scale=alt.Scale(domain=states, range=[marks.get(s, "triangle-up") for s in states]),
            legend=alt.Legend(orient="bottom", columns=1, title=None, symbolFillColor=GREY),
        ),
        tooltip=["arm:N", alt.Tooltip("lr:Q"), alt.Tooltip("value:Q", title=quantity), "state:N"],
    )
    chosen, faint = _chosen()
    line = base.mark_line(strokeWidth=1.5).encode(opacity=faint, **_arm_encodings(names))
    chart = alt.layer(line.add_params(chosen), points)
    notes = " ".join(map(tuning_note, shown))
    table = [[label, *row] for label, t in tunings if t in shown for row in tuning_table(t).rows]
    header = ("tuning", "learning rate", "best AUC", "samples to target", "seeds")
    return Figure(
        name,
        f"Tuning of the learning rate: {quantity}",
        notes,
        f"{quantity.capitalize()} over the learning rates that were tried. {notes}",
        chart.properties(height=260),
        Table("Tuning", header, table),
        tuple(names),
    )


def _range_test(test: FoundRangeTest, suffix: str) -> list[Figure | None]:
    rows = [
        {
            "seed": seed,
            "lr": point.lr,
            "loss": point.metrics.get("log_loss"),
            "auc": point.metrics.get("auc"),
        }
        for seed, points in test.curves.items()
        for point in _shown_points(points, len(test.curves))
        if point.lr is not None and point.lr > 0
    ]
    if not rows:
        return []
    table = range_test_table(test)
    marked = ", ".join(f"{name} {value:.3g}" for name, value in test.marks.items())
    parts = zip(("auc", "loss"), reversed(range_test_layers(rows, test.marks)), strict=True)
    titles = {"auc": "AUC", "loss": "loss"}
    return [
        Figure(
            f"range_test_{part}{suffix}",
            f"Range test: {titles[part]}",
            f"Validation {titles[part]} while the learning rate grows, a line a seed. "
            f"The suggestion: {test.reason or 'none'}.",
            f"Validation {titles[part]} over the learning rate of a range test. {marked}.",
            chart.properties(height=240),
            table,
        )
        for part, chart in parts
    ]
