"""The gradient noise scale over samples."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from bsscale.report.charts.figure import (
    Figure,
    arm_color,
    arm_dash,
    arm_mark,
    digits,
    inline,
    sample_axis,
    shown_points,
    shown_rows,
    styles_of,
)
from bsscale.report.comparison import Comparison, CurvePoint
from bsscale.report.drawing import Size
from bsscale.report.noise_scale import NOT_THE_CRITICAL_BATCH, measured
from bsscale.report.palette import Styles
from bsscale.report.summarize import median_curve
from bsscale.report.tables import Table, samples

__all__ = ["noise_scale_figure"]

HEIGHT = 220


def noise_scale_figure(comparison: Comparison) -> Figure | None:
    """A line an arm: the noise scale of the last windows; None if no run has measured it."""
    curves = {
        arm.short: curve
        for arm in comparison.arms
        if measured(arm)
        and (
            curve := median_curve(
                [(p.samples, p.noise_scale) for p in run.evals] for run in arm.runs
            )
        )
    }
    if not curves:
        return None
    found = styles_of(comparison.arms)
    keys = {name: found[name] for name in curves}
    said = "; ".join(
        f"{name}: {samples(curve[0].median)} at first, "
        f"{samples(statistics.median(p.median for p in curve))} in the middle, "
        f"{samples(curve[-1].median)} at the end"
        for name, curve in curves.items()
    )
    title = "Gradient noise scale over samples"
    rows = [
        [name, f"{p.samples:,}", *(samples(each) for each in (p.median, p.low, p.high))]
        for name, curve in curves.items()
        for p in shown_rows(curve, len(curves))
    ]
    return Figure(
        "noise_scale",
        title,
        "tr Σ / |G|² of the last 10 windows, the median over seeds and the band around it. "
        f"Gradients of fewer samples than it are mostly noise. {NOT_THE_CRITICAL_BATCH}",
        f"Gradient noise scale in samples. {said}.",
        partial(_draw, curves, keys),
        Table(title, ("arm", "samples", "median noise scale", "low", "high"), rows),
        keys,
    )


def _draw(curves: Mapping[str, Sequence[CurvePoint]], keys: Styles, size: Size) -> Any:
    import altair as alt

    rows = [
        {"arm": name, "samples": p.samples, "value": digits(p.median), "low": digits(p.low),
         "high": digits(p.high), "said": f"{name}\n{p.median:,.0f} samples"}
        for name, curve in curves.items()
        for p in shown_points(curve, len(curves))
    ]  # fmt: skip
    y = alt.Y(
        "value:Q",
        title="noise scale in samples (logarithmic)",
        scale=alt.Scale(type="log", nice=False, padding=8),
        axis=alt.Axis(tickCount=5, format="~s"),
    )
    base = alt.Chart(inline(rows)).encode(x=sample_axis(), color=arm_color(keys))
    band = base.mark_area(opacity=0.12).encode(y=alt.Y("low:Q"), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(
        y=y, strokeDash=arm_dash(keys), description="said:N"
    )
    marks = base.mark_point(size=20, filled=True, opacity=0.8).encode(y=y, shape=arm_mark(keys))
    return alt.layer(band, line, marks).properties(width=size.plot, height=HEIGHT)
