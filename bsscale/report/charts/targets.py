"""The ratio to the baseline over targets that are easier to reach."""

from __future__ import annotations

import math
from typing import Any

from bsscale.report.charts.figure import Figure, arm_encodings, chosen_arm, digits
from bsscale.report.comparison import Comparison
from bsscale.report.figures import GREY, inline
from bsscale.report.tables import easier_table, interval, times

__all__ = ["easier_targets_figure"]


def easier_targets_figure(comparison: Comparison) -> Figure | None:
    """A line an arm: its ratio, with the interval, at the target and at easier ones."""
    import altair as alt

    arms = [arm for arm in comparison.arms if arm.easier]
    targets = {(arm.criterion, arm.target) for arm in arms}
    if len(targets) != 1:
        return None
    names = [arm.short for arm in arms]
    rows: list[dict[str, Any]] = [
        {
            "arm": arm.short,
            "easier": digits(each.easier_by),
            "ratio": digits(each.ratio.ratio),
            "low": digits(each.ratio.low),
            "high": digits(each.ratio.high) if math.isfinite(each.ratio.high) else None,
            "interval": interval(each.ratio),
        }
        for arm in arms
        for each in arm.easier
        if 0 < each.ratio.ratio < math.inf
    ]
    if not rows:
        return None
    title = arms[0].criterion.title
    chosen, faint = chosen_arm()
    x = alt.X("easier:Q", title=f"how much easier the target is, in {title}")
    y = alt.Y("ratio:Q", title="ratio to the baseline", scale=alt.Scale(type="log", nice=False))
    encodings = arm_encodings(names)
    base = alt.Chart(inline(rows)).encode(x=x, opacity=faint, **encodings)
    line = base.mark_line(strokeWidth=2, point=True).encode(
        y=y, tooltip=["arm:N", "easier:Q", alt.Tooltip("ratio:Q", format=".3~g"), "interval:N"]
    )
    closed = [row for row in rows if row["high"] is not None and row["low"] > 0]
    bars = (
        alt.Chart(inline(closed))
        .mark_rule(strokeWidth=1)
        .encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=encodings["color"], opacity=faint)
    )
    rule = alt.Chart(inline([{"one": 1}])).mark_rule(color=GREY, strokeDash=[4, 4])
    chart = (
        alt.layer(rule.encode(y=alt.Y("one:Q", title="ratio to the baseline")), bars, line)
        .add_params(chosen)
        .properties(height=260)
    )
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
        chart,
        easier_table(comparison),
        tuple(names),
    )
