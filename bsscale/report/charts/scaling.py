"""Samples and steps to the target over the batch, with the fitted curve and its band."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from bsscale.critical_batch import Scaling
from bsscale.critical_batch.fit import Fit
from bsscale.report.charts.figure import (
    Figure,
    arm_color,
    arm_dash,
    arm_mark,
    count_axis,
    digits,
    inline,
    names_at_right,
    text_width,
)
from bsscale.report.drawing import Size
from bsscale.report.palette import MUTED, NOT_REACHED, Styles, styles
from bsscale.report.tables import Table

if TYPE_CHECKING:
    import altair as alt

__all__ = ["log_domain", "over_batch_figures", "styles_of_arms"]

Quantity: TypeAlias = Literal["samples", "steps"]
HEIGHT = 280
_POINTS = 60
# The most batches that all have a tick of their own.
_MOST_TICKS = 9
_TITLES = {
    "samples": "Samples to the target over the batch",
    "steps": "Steps to the target over the batch",
}
_CAPTIONS = {
    "samples": "A mark a run, a line with a band the fitted curve Emin (1 + B / Bc) with its 95% "
    "interval; where that is not identified, a thin line joins the medians. Below the critical "
    "batch, more GPUs need hardly more samples; above it, the samples grow with the batch. A "
    "triangle to the right did not reach the target: it needs more than is drawn.",
    "steps": "Samples over batch. Below the critical batch, twice the batch halves the steps; "
    "above it, more GPUs hardly save a step. Marks, lines and bands as above.",
}
_NOT_REACHED = "not reached"


def styles_of_arms(arms: Mapping[str, Scaling]) -> Styles:
    """How each arm is drawn."""
    return styles((name, name, None) for name in arms)


def over_batch_figures(arms: Mapping[str, Scaling], batch_of_gpu: int | None) -> list[Figure]:
    """Both figures; none where no point says anything."""
    shown = {
        name: found
        for name, found in arms.items()
        if any(point.samples is not None or point.budget is not None for point in found.points)
    }
    if not shown:
        return []
    found = styles_of_arms(arms)
    keys = {name: found[name] for name in shown}
    return [_figure(quantity, shown, keys, batch_of_gpu) for quantity in ("samples", "steps")]


def _figure(
    quantity: Quantity, arms: Mapping[str, Scaling], keys: Styles, batch_of_gpu: int | None
) -> Figure:
    rows = []
    for name, found in arms.items():
        for batch, median in _median_of_batches(found):
            over = batch if quantity == "steps" else 1.0
            rows.append(
                [name, f"{batch:,.6g}", "missed" if math.isinf(median) else f"{median / over:,.6g}"]
            )
    said = "; ".join(f"{name} at batch {batch}: {median}" for name, batch, median in rows)
    return Figure(
        f"{quantity}_over_batch",
        _TITLES[quantity],
        _CAPTIONS[quantity],
        f"Median {quantity} to the target over the batch. {said}.",
        partial(_draw, quantity, arms, keys, batch_of_gpu),
        Table(_TITLES[quantity], ("arm", "batch", f"median {quantity}"), rows),
        keys,
    )


def _draw(
    quantity: Quantity,
    arms: Mapping[str, Scaling],
    keys: Styles,
    batch_of_gpu: int | None,
    size: Size,
) -> Any:
    import altair as alt

    dots, fits, medians, verticals = [], [], [], []
    for name, found in arms.items():
        dots += _dots(quantity, name, found)
        if found.fit is None or not found.identified:
            medians += _medians(quantity, name, found)
            continue
        fits += _fitted(quantity, name, found.fit)
        critical = found.fit.curve.critical_batch
        known = found.fit.data.batch
        if known[0] <= critical <= known[-1]:
            verticals.append({"batch": digits(critical), "said": f"Bc {critical:,.0f}"})
    limits = log_domain([r["value"] for r in dots] + [r[e] for r in fits for e in ("low", "high")])
    ends = {row["arm"]: math.log(row["value"]) for row in (*dots, *medians, *fits)}
    named = size.wide and len(ends) > 1
    width = size.plot - (round(max(map(text_width, ends))) + 16 if named else 0)
    x, y = _axes(quantity, dots, limits, batch_of_gpu, size)
    color, dash = arm_color(keys), arm_dash(keys)
    layers: list[Any] = []
    if fits:
        layers += [
            alt.Chart(inline(fits)).mark_area(opacity=0.15).encode(
                x=x, y=alt.Y("low:Q"), y2="high:Q", color=color, detail="arm:N"
            ),
            alt.Chart(inline(fits)).mark_line(strokeWidth=2).encode(
                x=x, y=y, color=color, strokeDash=dash, description="arm:N"
            ),
        ]  # fmt: skip
    if medians:
        layers.append(
            alt.Chart(inline(medians)).mark_line(strokeWidth=1).encode(
                x=x, y=y, color=color, strokeDash=dash, description="arm:N"
            )
        )  # fmt: skip
    if verticals:
        critical_batches = alt.Chart(inline(verticals)).encode(x=x)
        layers += [
            critical_batches.mark_rule(strokeDash=[3, 3], color=MUTED),
            critical_batches.mark_text(align="right", dx=-4, y=8, color=MUTED).encode(
                text="said:N"
            ),
        ]
    shapes = arm_mark(keys, {_NOT_REACHED: NOT_REACHED})
    layers.append(
        alt.Chart(inline(dots)).mark_point(size=32, filled=True, opacity=0.75).encode(
            x=x, y=y, color=color, shape=shapes, description="said:N"
        )
    )  # fmt: skip
    if named:
        domain = (math.log(limits[0]), math.log(limits[1]))
        layers += names_at_right(ends, domain, HEIGHT, width, keys)
    return alt.layer(*layers).properties(width=width, height=HEIGHT)


def _axes(
    quantity: Quantity,
    dots: list[dict[str, Any]],
    limits: list[float],
    batch_of_gpu: int | None,
    size: Size,
) -> tuple[alt.X, alt.Y]:
    import altair as alt

    unit = "" if batch_of_gpu is None else f" ({batch_of_gpu:,} on each GPU)"
    batches = sorted({row["batch"] for row in dots})
    ticks = count_axis(6 if size.wide else 3)
    if len(batches) <= _MOST_TICKS:
        ticks = alt.Axis(values=batches, format=",", labelOverlap=True)
    x = alt.X(
        "batch:Q",
        title=f"batch in samples{unit}, logarithmic",
        scale=alt.Scale(type="log", nice=False, domain=log_domain(batches)),
        axis=ticks,
    )
    y = alt.Y(
        "value:Q",
        title=f"{quantity} to the target, logarithmic",
        scale=alt.Scale(type="log", nice=False, domain=limits),
        axis=count_axis(),
    )
    return x, y


def _fitted(quantity: Quantity, name: str, fit: Fit) -> list[dict[str, Any]]:
    """The fitted curve and its band."""
    known = fit.data.batch
    batches = np.exp(np.linspace(math.log(known[0]), math.log(known[-1]), _POINTS))
    over = batches if quantity == "steps" else np.ones(_POINTS)
    low, high = fit.band(batches.tolist())
    middle = fit.curve.samples(batches)
    return [
        {
            "arm": name,
            **dict(
                zip(("batch", "value", "low", "high"), map(digits, map(float, row)), strict=True)
            ),
        }
        for row in zip(batches, middle / over, low / over, high / over, strict=True)
    ]


def _medians(quantity: Quantity, name: str, found: Scaling) -> list[dict[str, Any]]:
    """The medians of the batches that reached the target."""
    made = []
    for batch, median in _median_of_batches(found):
        if math.isfinite(median):
            over = batch if quantity == "steps" else 1.0
            made.append({"arm": name, "batch": digits(batch), "value": digits(median / over)})
    return made


def _median_of_batches(found: Scaling) -> list[tuple[float, float]]:
    """Each batch with its median samples; infinite where it missed the target."""
    made = []
    for batch in sorted({point.batch for point in found.points}):
        runs = [p.samples for p in found.points if p.batch == batch]
        made.append((batch, statistics.median(math.inf if run is None else run for run in runs)))
    return made


def log_domain(values: list[float]) -> list[float]:
    """The limits of a logarithmic axis, a little beyond the values."""
    beyond = (max(values) / min(values)) ** 0.03 * 1.02
    return [digits(min(values) / beyond), digits(max(values) * beyond)]


def _dots(quantity: Quantity, name: str, found: Scaling) -> list[dict[str, Any]]:
    made = []
    for point in found.points:
        value = point.budget if point.samples is None else point.samples
        if value is None:
            continue
        shown = f"{value:,.6g} samples" if point.samples is not None else "did not reach the target"
        seed = "" if point.seed is None else f", seed {point.seed}"
        over = point.batch if quantity == "steps" else 1.0
        made.append(
            {
                "arm": name,
                "batch": digits(point.batch),
                "value": digits(value / over),
                "shape": _NOT_REACHED if point.samples is None else name,
                "said": f"{name}\nbatch {point.batch:,.6g}{seed}: {shown}",
            }
        )
    return made
