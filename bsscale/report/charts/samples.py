"""Samples to the target: a point a seed, each arm's median and interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from bsscale.report.charts.figure import (
    Figure,
    arm_color,
    arm_mark,
    digits,
    inline,
    sample_axis,
    styles_of,
)
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.drawing import Size
from bsscale.report.palette import DIVERGED, NOT_REACHED, Styles
from bsscale.report.tables import samples, seeds_table

__all__ = ["STATES", "samples_to_target_figure"]

ROW_HEIGHT = 46
# How a run that did not reach its target is drawn.
STATES = {"not reached": NOT_REACHED, "diverged": DIVERGED}


def samples_to_target_figure(comparison: Comparison) -> Figure | None:
    """A point a seed, and each arm's median with its interval."""
    arms = [arm for arm in comparison.arms if arm.seeds]
    if not arms:
        return None
    found = styles_of(comparison.arms)
    keys = {arm.short: found[arm.short] for arm in arms}
    said = "; ".join(
        f"{arm.short}: median {samples(arm.samples_to_target.median)}, "
        f"{arm.counts['reached']} of {arm.trained} reached"
        for arm in arms
        if arm.samples_to_target is not None
    )
    return Figure(
        "samples_to_target",
        "Samples to the target, seed by seed",
        "A mark a seed; the thin bar is the median, the wide one its 95% interval (Kaplan-Meier; "
        "open to an edge, or not drawn, where the seeds do not bound it). A run that did not reach "
        "the target lies at the right edge, because it needs more than is shown: a triangle has "
        f"{'ended' if any(arm.imported for arm in arms) else 'spent its budget'}, a cross has "
        "diverged.",
        f"Samples to the target by arm. {said}.",
        partial(_draw, arms, keys),
        seeds_table(comparison),
    )


def goal(arms: Sequence[ArmSummary]) -> str:
    """The target in words, as a title of an axis names it."""
    goals = {f"{arm.criterion.title} {arm.target:.4g}" for arm in arms if arm.target is not None}
    return goals.pop() if len(goals) == 1 else "the target"


def _draw(arms: Sequence[ArmSummary], keys: Styles, size: Size) -> Any:
    import altair as alt

    numbers = [r.samples for arm in arms for r in arm.seeds if math.isfinite(r.samples)]
    cut_off = max(run.record.samples_seen for arm in arms for run in arm.runs)
    highest = max(numbers, default=cut_off) or 1
    missed = any(math.isinf(result.samples) for arm in arms for result in arm.seeds)
    edge = 1.08 * highest if missed else highest
    points, spans, medians = [], [], []
    for arm in arms:
        points += _points(arm, edge)
        assert arm.samples_to_target is not None and arm.survival is not None
        if math.isfinite(arm.samples_to_target.median):
            median = arm.samples_to_target.median
            medians.append({"arm": arm.short, "samples": median, "said": f"{arm.short}\nmedian "
                            f"{samples(median)} samples"})  # fmt: skip
        # With fewer than six seeds, the median's interval has no ends.
        if arm.survival.low > 0 or math.isfinite(arm.survival.high):
            low, high = min(arm.survival.low, edge), min(arm.survival.high, edge)
            spans.append({"arm": arm.short, "low": low, "high": high})
    names = [arm.short for arm in arms]
    x = sample_axis(
        title=f"training samples to {goal(arms)} (fewer is better)",
        scale=alt.Scale(domain=[0, edge * 1.02], nice=False),
    )
    y = alt.Y("arm:N", sort=names, title=None, axis=None, scale=alt.Scale(domain=names))
    titles = (
        alt.Chart(inline([{"arm": name} for name in names]))
        .mark_text(align="left", baseline="bottom", dy=-9)
        .encode(x=alt.value(0), y=y, text="arm:N")
    )
    interval = alt.Chart(inline(spans)).mark_rule(strokeWidth=7, opacity=0.35).encode(
        x=alt.X("low:Q"), x2="high:Q", y=y, color=arm_color(keys)
    )  # fmt: skip
    median = alt.Chart(inline(medians)).mark_tick(thickness=3, size=22, opacity=1).encode(
        x=x, y=y, color=arm_color(keys), description="said:N"
    )  # fmt: skip
    shapes = arm_mark(keys, STATES)
    seeds = alt.Chart(inline(points)).mark_point(size=45, filled=True, opacity=0.85).encode(
        x=x,
        y=y,
        yOffset=alt.YOffset("offset:Q", scale=alt.Scale(domain=[-23, 23], range=[0, ROW_HEIGHT])),
        color=arm_color(keys),
        shape=shapes,
        description="said:N",
    )  # fmt: skip
    return alt.layer(interval, median, seeds, titles).properties(
        width=size.plot, height=ROW_HEIGHT * len(names) + 10
    )


def _points(arm: ArmSummary, edge: float) -> list[dict[str, Any]]:
    points = []
    for place, result in enumerate(arm.seeds):
        missed = math.isinf(result.samples)
        state = "diverged" if result.status == "diverged" else "not reached" if missed else None
        shown = state if missed else f"{result.samples:,.0f} samples"
        points.append(
            {
                "arm": arm.short,
                "samples": edge if missed else digits(result.samples),
                "shape": arm.short if not missed else state,
                # Seeds lie above one another, so that equal ones are both seen.
                "offset": (place % 5 - 2) * 3 + 4,
                "said": f"{arm.short}\nseed {result.seed}: {shown}",
            }
        )
    return points
