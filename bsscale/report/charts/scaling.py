"""Samples and steps to the target over the batch, with the fitted curve and its band."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np

from bsscale.critical_batch import Scaling
from bsscale.report.charts.figure import (
    Figure,
    arm_color,
    arm_dash,
    arm_mark,
    count_axis,
    digits,
    inline,
)
from bsscale.report.drawing import Size
from bsscale.report.palette import MUTED, NOT_REACHED, Styles, styles
from bsscale.report.tables import Table

__all__ = ["log_domain", "over_batch_figures", "styles_of_arms"]

Quantity: TypeAlias = Literal["samples", "steps"]
HEIGHT = 280
_POINTS = 60
_TITLES = {
    "samples": "Samples to the target over the batch",
    "steps": "Steps to the target over the batch",
}
_CAPTIONS = {
    "samples": "A mark a run, a line the fitted curve Emin (1 + B / Bc), a band its 95% interval. "
    "Below the critical batch, more GPUs need hardly more samples; above it, the samples grow with "
    "the batch. A triangle to the right did not reach the target: it needs more than is drawn.",
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
        for batch in sorted({point.batch for point in found.points}):
            runs = [p.samples for p in found.points if p.batch == batch]
            median = statistics.median(math.inf if run is None else run for run in runs)
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

    dots, lines, bands, verticals = [], [], [], []
    for name, found in arms.items():
        dots += _dots(quantity, name, found)
        if found.fit is None:
            continue
        known = found.fit.data.batch
        batches = np.exp(np.linspace(math.log(known[0]), math.log(known[-1]), _POINTS))
        over = batches if quantity == "steps" else np.ones(_POINTS)
        low, high = found.fit.band(batches.tolist())
        middle = found.fit.curve.samples(batches)
        for row in zip(batches, middle / over, low / over, high / over, strict=True):
            batch, each, least, most = map(digits, map(float, row))
            lines.append({"arm": name, "batch": batch, "value": each, "said": name})
            bands.append({"arm": name, "batch": batch, "low": least, "high": most})
        critical = found.fit.curve.critical_batch
        if found.identified and known[0] <= critical <= known[-1]:
            verticals.append({"arm": name, "batch": digits(critical), "said": name})
    unit = "" if batch_of_gpu is None else f" ({batch_of_gpu:,} on each GPU)"
    x = alt.X(
        "batch:Q",
        title=f"batch in samples{unit}, logarithmic",
        scale=alt.Scale(type="log", nice=False, domain=log_domain([row["batch"] for row in dots])),
        axis=count_axis(6 if size.wide else 3),
    )
    y = alt.Y(
        "value:Q",
        title=f"{quantity} to the target, logarithmic",
        scale=alt.Scale(
            type="log",
            nice=False,
            domain=log_domain(
                [r["value"] for r in dots] + [r[e] for r in bands for e in ("low", "high")]
            ),
        ),
        axis=count_axis(),
    )
    layers: list[Any] = []
    if bands:
        layers += [
            alt.Chart(inline(bands)).mark_area(opacity=0.15).encode(
                x=x, y=alt.Y("low:Q"), y2="high:Q", color=arm_color(keys), detail="arm:N"
            ),
            alt.Chart(inline(lines)).mark_line(strokeWidth=2).encode(
                x=x, y=y, color=arm_color(keys), strokeDash=arm_dash(keys), description="said:N"
            ),
        ]  # fmt: skip
    if verticals:
        layers.append(
            alt.Chart(inline(verticals)).mark_rule(strokeDash=[3, 3], color=MUTED).encode(x=x)
        )
    shapes = arm_mark(keys, {_NOT_REACHED: NOT_REACHED})
    layers.append(
        alt.Chart(inline(dots)).mark_point(size=32, filled=True, opacity=0.75).encode(
            x=x, y=y, color=arm_color(keys), shape=shapes, description="said:N"
        )
    )  # fmt: skip
    return alt.layer(*layers).properties(width=size.plot, height=HEIGHT)


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
