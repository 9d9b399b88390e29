"""The ratio to the baseline over targets that are easier to reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from bsscale.report.charts.figure import (
    Figure,
    arm_color,
    arm_dash,
    arm_mark,
    digits,
    inline,
    styles_of,
)
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.drawing import Size
from bsscale.report.palette import MUTED, Styles
from bsscale.report.ratio_words import estimate_words, times
from bsscale.report.tables import easier_table

__all__ = ["easier_targets_figure"]

HEIGHT = 260


def easier_targets_figure(comparison: Comparison) -> Figure | None:
    """A line an arm: its ratio, with the interval, at the target and at easier ones."""
    arms = [arm for arm in comparison.arms if arm.easier]
    targets = {(arm.criterion, arm.target) for arm in arms}
    if len(targets) != 1 or not _rows(arms):
        return None
    found = styles_of(comparison.arms)
    keys = {arm.short: found[arm.short] for arm in arms}
    said = "; ".join(
        f"{arm.short}: {times(arm.easier[0].ratio.ratio)} at the target, "
        f"{times(arm.easier[-1].ratio.ratio)} at the easiest"
        for arm in arms
    )
    return Figure(
        "easier_targets",
        "The ratio at easier targets",
        "Samples over those of the baseline, at the target (left) and at targets that are easier "
        "to reach, from the recorded evaluations. Above 1 an arm is slower. Each interval holds on "
        "its own; it is not drawn where it has an open end.",
        f"Ratio to the baseline by arm over easier targets. {said}.",
        partial(_draw, arms, keys),
        easier_table(comparison),
        keys,
    )


def _rows(arms: Sequence[ArmSummary]) -> list[dict[str, Any]]:
    return [
        {
            "arm": arm.short,
            "easier": digits(each.easier_by),
            "ratio": digits(each.ratio.ratio),
            "low": digits(each.ratio.low),
            "high": digits(each.ratio.high) if math.isfinite(each.ratio.high) else None,
            "said": f"{arm.short}\n{estimate_words(each.ratio)}",
        }
        for arm in arms
        for each in arm.easier
        if 0 < each.ratio.ratio < math.inf
    ]


def _draw(arms: Sequence[ArmSummary], keys: Styles, size: Size) -> Any:
    import altair as alt

    rows = _rows(arms)
    x = alt.X(
        "easier:Q",
        title=f"how much easier the target is, in {arms[0].criterion.title}",
        axis=alt.Axis(tickCount=5, format="~g"),
    )
    y = alt.Y(
        "ratio:Q",
        title=["samples, x the baseline", "(fewer is better)"],
        scale=alt.Scale(type="log", nice=False, padding=8),
        axis=alt.Axis(tickCount=5, format="~g"),
    )
    base = alt.Chart(inline(rows)).encode(x=x, color=arm_color(keys), description="said:N")
    line = base.mark_line(strokeWidth=2).encode(y=y, strokeDash=arm_dash(keys))
    marks = base.mark_point(size=42, filled=True, opacity=1).encode(y=y, shape=arm_mark(keys))
    closed = [row for row in rows if row["high"] is not None and row["low"] > 0]
    bars = (
        alt.Chart(inline(closed))
        .mark_rule(strokeWidth=1, opacity=0.7)
        .encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=arm_color(keys), description="said:N")
    )
    one = alt.Chart(inline([{"ratio": 1}])).mark_rule(color=MUTED, strokeDash=[4, 4]).encode(y=y)
    return alt.layer(one, bars, line, marks).properties(width=size.plot, height=HEIGHT)
