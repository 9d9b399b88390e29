"""Samples to the target over the number of stairs of a cycle."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bsscale.report.charts.figure import (
    Figure,
    arm_color,
    arm_mark,
    count_axis,
    digits,
    inline,
    names_at_right,
    styles_of,
    text_width,
)
from bsscale.report.charts.samples import STATES, goal
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.drawing import Size
from bsscale.report.palette import COLORS, MUTED, Styles, styles
from bsscale.report.tables import Table, samples

__all__ = ["stairs_figure"]

STAIRS = "cycle_first_stair_count"
HEIGHT = 260


@dataclass(frozen=True)
class _Counted:
    """An arm with its number of stairs, its label without it, and the name of its style."""

    stairs: int
    rest: str
    arm: ArmSummary
    style: str

    @property
    def median(self) -> float:
        """Of its samples to the target."""
        assert self.arm.samples_to_target is not None
        return self.arm.samples_to_target.median


def stairs_figure(comparison: Comparison) -> Figure | None:
    """Samples to the target by stair count; None where the count was not swept."""
    counted = []
    for arm in comparison.arms:
        schedule = arm.record.config.get("schedule")
        count = schedule.get(STAIRS) if isinstance(schedule, dict) else None
        if isinstance(count, int) and not isinstance(count, bool) and arm.seeds:
            words = [word for word in arm.short.split() if STAIRS not in word]
            rest = " ".join(words) or arm.record.schedule
            counted.append(_Counted(count, rest, arm, arm.short))
    if len({each.stairs for each in counted}) < 2:
        return None
    counted.sort(key=lambda each: each.stairs)
    rests = list(dict.fromkeys(each.rest for each in counted))
    # More arms than colours: those of a line share one, as if it was an arm.
    by_line = 1 < len(rests) <= len(COLORS) < len(counted)
    if by_line:
        counted = [replace(each, style=each.rest) for each in counted]
        keys = styles((rest, "", None) for rest in rests)
    else:
        found = styles_of(comparison.arms)
        keys = {each.style: found[each.style] for each in counted}
    rows = [
        [str(each.stairs), each.rest, samples(each.median),
         f"{each.arm.counts['reached']}/{each.arm.trained}"]
        for each in counted
    ]  # fmt: skip
    said = "; ".join(f"{row[0]} stairs, {row[1]}: {row[2]}" for row in rows)
    return Figure(
        "stairs",
        "Samples to the target by stair count",
        f"A mark a seed, in the colours of the {'lines' if by_line else 'arms'}; a line joins the "
        "medians of arms that differ in nothing else. A triangle at the upper edge did not reach "
        "the target, a cross diverged.",
        f"Median samples to the target by {STAIRS}. {said}.",
        partial(_draw, counted, keys),
        Table("By stair count", ("stairs", "arm", "median samples to target", "reached"), rows),
        keys,
    )


def _draw(counted: list[_Counted], keys: Styles, size: Size) -> Any:
    import altair as alt

    finite = [r.samples for each in counted for r in each.arm.seeds if math.isfinite(r.samples)]
    highest = max(finite, default=1.0)
    edge = 1.06 * highest
    points = [
        {
            "arm": each.style,
            "rest": each.rest,
            "stairs": str(each.stairs),
            "samples": digits(result.samples) if math.isfinite(result.samples) else edge,
            "shape": each.style if math.isfinite(result.samples)
            else "diverged" if result.status == "diverged" else "not reached",
            "said": f"{each.arm.short}\nseed {result.seed}",
        }
        for each in counted
        for result in each.arm.seeds
    ]  # fmt: skip
    medians = [
        {
            "arm": each.style,
            "rest": each.rest,
            "stairs": str(each.stairs),
            "samples": each.median,
        }
        for each in counted
        if math.isfinite(each.median)
    ]
    rests = list(dict.fromkeys(each.rest for each in counted))
    x = alt.X(
        "stairs:O",
        sort=[str(n) for n in dict.fromkeys(each.stairs for each in counted)],
        title="stairs of the rise (0: continuous)",
        axis=alt.Axis(labelAngle=0),
    )
    low = 0.9 * min(finite, default=0.0)
    limits = (low, 1.02 * edge)
    y = alt.Y(
        "samples:Q",
        title=f"samples to {goal([each.arm for each in counted])} (fewer is better)",
        axis=count_axis(),
        scale=alt.Scale(domain=list(limits), nice=False, zero=False),
    )
    # Side by side, or the points of several lines hide each other.
    beside = alt.XOffset("rest:N", scale=alt.Scale(domain=rests, paddingOuter=0.3))
    by_line = all(rest in keys for rest in rests)
    line = (
        alt.Chart(inline(medians))
        .mark_line(strokeWidth=1.5, color=MUTED)
        .encode(x=x, xOffset=beside, y=y, detail="rest:N")
    )
    if by_line:
        line = line.encode(color=arm_color(keys))
    shapes = arm_mark(keys, STATES)
    dots = (
        alt.Chart(inline(points))
        .mark_point(size=34, filled=True, opacity=0.8)
        .encode(x=x, xOffset=beside, y=y, color=arm_color(keys), shape=shapes, description="said:N")
    )
    layers: list[Any] = [line, dots]
    width = size.plot
    if size.wide and len(rests) > 1:
        last = {each.rest: each.median for each in counted if math.isfinite(each.median)}
        width -= round(max(map(text_width, last), default=0.0)) + 16 * by_line
        layers += names_at_right(last, limits, HEIGHT, width, keys if by_line else None)
    return alt.layer(*layers).properties(width=width, height=HEIGHT)
