"""Figures: one Altair specification gives PNG and SVG without a browser; uniplot the terminal's."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bsscale.files.replace import replaced

if TYPE_CHECKING:
    import altair as alt

    from bsscale.objectives import Criterion
    from bsscale.stats.range_test import Curve, Suggestion

__all__ = [
    "DASHES",
    "GREY",
    "PALETTE",
    "colors",
    "dashes",
    "draw_lines",
    "inline",
    "range_test_chart",
    "range_test_layers",
    "save",
    "schedule_chart",
]

# Okabe and Ito's palette: distinct in every common form of colour blindness.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
# Dash patterns distinguish arms in addition to colours; five patterns and seven colours give 35
# pairs.
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4]]
GREY = "#6B6B6B"
_HEIGHT = 13  # lines of a terminal's figure: odd, so that there is a middle one
Points = Sequence[Mapping[str, Any]]


def draw_lines(
    title: str,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    log_x: bool = False,
) -> str:
    """Curves drawn with characters, as wide as the terminal.

    Parameters
    ----------
    title
        Shown above.
    curves
        For each label, x and y.
    log_x
        Whether x is drawn on a logarithmic scale.
    """
    from uniplot import plot_to_string

    colored = sys.stdout.isatty()
    width = max(20, min(shutil.get_terminal_size((80, 24)).columns, 100) - 12)
    y = [value for _, values in curves.values() for value in values]
    low, high = min(y), max(y)
    if low == high:  # a line in the middle
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    text: str = plot_to_string(
        xs=[list(x) for x, _ in curves.values()],
        ys=[list(y) for _, y in curves.values()],
        # A label that is longer than a line continues in the next one.
        legend_labels=[textwrap.fill(label, width, subsequent_indent="   ") for label in curves],
        legend_placement="vertical",
        title=title,
        lines=True,
        x_as_log=log_x,
        y_min=low,
        y_max=high,
        y_labels=False,  # (they are rounded until they are wrong: 0.25 and 0.75 to 0 and 1)
        color=colored,
        # Without colour, different characters distinguish the curves.
        character_set="braille" if colored else "ascii",
        width=width,
        height=_HEIGHT,
    )
    lines = text.splitlines()
    top = next(number for number, line in enumerate(lines) if line.startswith("┌")) + 1
    for row in (0, _HEIGHT // 2, _HEIGHT - 1):
        value = high - (high - low) * row / (_HEIGHT - 1)
        lines[top + row] = f"{lines[top + row].rstrip()} {value:.3g}"
    text = "\n".join(line.rstrip() for line in lines)
    if not (sys.stdout.encoding or "ascii").lower().startswith("utf"):
        text = text.translate(str.maketrans("┌┐└┘─│", "++++-|")).encode("ascii", "replace").decode()
    return text


def save(chart: alt.TopLevelMixin, stem: Path) -> list[Path]:
    """Write a chart as PNG and SVG.

    Parameters
    ----------
    chart
        Any Altair chart.
    stem
        The path without its ending.
    """
    png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
    with replaced(png) as new:
        chart.save(str(new), format="png", scale_factor=2)
    with replaced(svg) as new:
        chart.save(str(new), format="svg")
    return [png, svg]


def schedule_chart(points: Points) -> alt.VConcatChart:
    """Learning rate over momentum over samples, a colour a schedule.

    Parameters
    ----------
    points
        ``schedule``, ``samples``, ``lr`` and ``momentum`` (None if it is not set).
    """
    import altair as alt

    order = list(dict.fromkeys(point["schedule"] for point in points))
    color = alt.Color(
        "schedule:N", sort=order, title=None, scale=alt.Scale(domain=order, range=colors(order))
    )
    base = alt.Chart(inline(points)).encode(
        x=alt.X("samples:Q", title="samples", axis=alt.Axis(format="~s")), color=color
    )
    rate = base.mark_line().encode(y=alt.Y("lr:Q", title="learning rate"))
    charts = [rate.properties(width=560, height=240)]
    if any(point["momentum"] is not None for point in points):
        momentum = (
            base.transform_filter("isValid(datum.momentum)")
            .mark_line()
            .encode(y=alt.Y("momentum:Q", title="momentum", scale=alt.Scale(zero=False)))
        )
        charts.append(momentum.properties(width=560, height=120))
    return alt.vconcat(*charts)


def range_test_chart(
    curves: Mapping[int, Curve], suggestion: Suggestion, criterion: Criterion, loss: str
) -> alt.VConcatChart:
    """Loss and metric over the learning rate (log), one line for each seed, with the suggestion.

    Parameters
    ----------
    curves
        For each seed, its evaluations.
    suggestion
        What follows from them.
    criterion, loss
        The metric, and the name of the metric that is the validation loss.
    """
    import altair as alt

    rows = [
        {"seed": str(seed), "lr": lr, "loss": each, "value": value}
        for seed, curve in curves.items()
        for lr, each, value in zip(
            curve.lr.tolist(), curve.loss.tolist(), curve.values.tolist(), strict=True
        )
    ]
    marks = {
        "cycle_min_lr": suggestion.cycle_min_lr,
        "cycle_max_lr": suggestion.cycle_max_lr,
        "lowest edge": suggestion.spread["edge"][0],
    }
    layers = range_test_layers(rows, marks, criterion, loss)
    return alt.vconcat(
        *(chart.properties(width=560, height=220) for _, chart in reversed(layers.values()))
    )


def range_test_layers(
    rows: Points, marks: Mapping[str, float], criterion: Criterion, loss: str
) -> dict[str, tuple[str, alt.LayerChart]]:
    """The parts of `range_test_chart`.

    Parameters
    ----------
    rows
        ``seed`` (text), ``lr``, ``loss`` and ``value``; None or not finite where not defined.
    marks
        Learning rates to mark, by name.
    criterion, loss
        The metric, and the name of the metric that is the validation loss.

    Returns
    -------
    Metric, and loss, over the learning rate: a title and a chart for each name. One part, with the
    metric's name, where the metric is the loss.
    """
    import altair as alt

    points = [
        {**row, **{key: _finite(row[key]) for key in ("loss", "value")}}
        for row in rows
        if row["lr"] is not None and row["lr"] > 0
    ]
    cuts = {"loss": _cut(points, "loss", -1), "value": _cut(points, "value", criterion.sign)}
    seeds = list(dict.fromkeys(point["seed"] for point in points))
    legend = alt.Legend(
        orient="bottom", columns=1, title="seed", symbolType="stroke", symbolSize=700
    )
    x = alt.X(
        "lr:Q",
        title="learning rate",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(format="~g", labelOverlap=True, tickCount=5),
    )
    base = alt.Chart(inline(points)).encode(
        x=x,
        color=alt.Color(
            "seed:N", scale=alt.Scale(domain=seeds, range=colors(seeds)), legend=legend
        ),
        strokeDash=alt.StrokeDash(
            "seed:N", scale=alt.Scale(domain=seeds, range=dashes(seeds)), legend=legend
        ),
        tooltip=[
            "seed:N",
            "lr:Q",
            *([] if criterion.name == loss else ["loss:Q"]),
            alt.Tooltip("value:Q", title=criterion.title),
        ],
    )
    # Labels of suggestions are at the top and labels of observations at the bottom, because they
    # may be at the same rate.
    marked = [{"lr": lr, "mark": mark} for mark, lr in marks.items()]
    top = [row for row in marked if str(row["mark"]).startswith("cycle")]
    bottom = [row for row in marked if row not in top]
    above = alt.Chart(inline(top)).mark_text(
        angle=270, align="right", baseline="bottom", dx=-3, dy=-3, color=GREY
    )
    below = alt.Chart(inline(bottom)).mark_text(
        angle=270, align="left", baseline="bottom", dx=3, dy=-3, color=GREY
    )
    names = (
        above.encode(x="lr:Q", y=alt.value(0), text="mark:N"),
        below.encode(x="lr:Q", y=alt.value("height"), text="mark:N"),
    )
    rules = alt.Chart(inline(marked)).mark_rule(color=GREY, strokeDash=[2, 2]).encode(x="lr:Q")

    def part(field: str, title: str) -> tuple[str, alt.LayerChart]:
        scale = alt.Scale(zero=False, **cuts[field])
        y = alt.Y(f"{field}:Q", title=f"validation {title}", scale=scale)
        line = base.mark_line(clip=True).encode(y=y)
        return title, alt.LayerChart(layer=[line, rules, *names])

    parts = {criterion.name: part("value", criterion.title)}
    return parts if criterion.name == loss else {**parts, "loss": part("loss", "loss")}


def _cut(points: Sequence[dict[str, Any]], key: str, sign: int) -> dict[str, Any]:
    """The limit of an axis on the bad side of its quantity; points beyond it move close to it.

    Without it, a diverging loss would make the rest of the curve flat, and a loss of 1e30 would not
    be drawn at all.
    """
    known = [point for point in points if point[key] is not None]
    if not known:
        return {}
    values = [sign * point[key] for point in known]
    first = {point["seed"]: sign * point[key] for point in reversed(known)}
    best, worst, start = max(values), min(values), min(first.values())
    # Of what is 0 or more and falls, three times the lowest is far off; else twice the way down.
    cut = min(3 * best, start) if sign < 0 else start - 2 * (best - start)
    cut = max(cut, worst) if cut < best else worst
    for point in known:
        point[key] = sign * max(sign * point[key], 2 * cut - best)
    if sign > 0 and cut == worst:
        return {}
    return {"domainMin" if sign > 0 else "domainMax": sign * cut}


def inline(rows: Points) -> alt.Data:
    """Rows as a chart's data, inside its specification."""
    import altair as alt

    return alt.Data(values=list(rows))  # type: ignore[no-untyped-call]


def colors(names: Sequence[str]) -> list[str]:
    """A colour for each name, from the palette."""
    return [PALETTE[index % len(PALETTE)] for index in range(len(names))]


def dashes(names: Sequence[str]) -> list[list[int]]:
    """A dash pattern for each name."""
    return [DASHES[index % len(DASHES)] for index in range(len(names))]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
