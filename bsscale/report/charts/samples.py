"""Samples to the target: a point a seed, each arm's median and interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bsscale.report.charts.figure import (
    SHAPES,
    Figure,
    arm_encodings,
    digits,
    sample_axis,
)
from bsscale.report.comparison import Comparison
from bsscale.report.figures import GREY, inline
from bsscale.report.tables import (
    samples,
    seeds_table,
)

if TYPE_CHECKING:
    pass

__all__ = ["samples_to_target_figure"]

ROW_HEIGHT = 60


def samples_to_target_figure(comparison: Comparison) -> Figure | None:
    """A point a seed, and each arm's median with its interval."""
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
                    "samples": edge if missed else digits(result.samples),
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
        # With fewer than six seeds, the median's interval has no ends.
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
    x = sample_axis(
        title="samples to the target", scale=alt.Scale(domain=[0, edge * 1.02], nice=False)
    )
    y = alt.Y("arm:N", sort=names, title=None, axis=None, scale=alt.Scale(domain=names))
    color = arm_encodings(names, dashed=False)["color"]
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
            scale=alt.Scale(domain=list(SHAPES), range=list(SHAPES.values())),
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
