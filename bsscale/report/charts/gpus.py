"""Samples to the target over the number of GPUs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bsscale.report.charts.figure import (
    Figure,
    arm_color,
    arm_mark,
    count_axis,
    inline,
    names_at_right,
    styles_of,
    text_width,
)
from bsscale.report.charts.samples import goal
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.drawing import Size
from bsscale.report.palette import MUTED, Styles
from bsscale.report.tables import Table, samples

__all__ = ["gpus_figure"]

HEIGHT = 250
FEWEST = 3


@dataclass(frozen=True)
class _Placed:
    """An arm at its number of GPUs, and what its line is called."""

    line: str
    arm: ArmSummary

    @property
    def median(self) -> float:
        """Of its samples to the target."""
        assert self.arm.samples_to_target is not None
        return self.arm.samples_to_target.median


def gpus_figure(comparison: Comparison) -> Figure | None:
    """Median samples over GPUs; None where fewer than three numbers of GPUs are known."""
    judged = [arm for arm in comparison.arms if arm.samples_to_target is not None and arm.gpus]
    if len({arm.gpus for arm in judged}) < FEWEST:
        return None
    found = styles_of(comparison.arms)
    placed = sorted((_Placed(_line_of(arm), arm) for arm in judged), key=lambda p: p.arm.gpus)
    keys = {each.arm.short: found[each.arm.short] for each in placed}
    rows = [[each.line, str(each.arm.gpus), samples(each.median),
             f"{each.arm.counts['reached']}/{each.arm.trained}"] for each in placed]  # fmt: skip
    said = "; ".join(f"{row[0]} at {row[1]}: {row[2]}" for row in rows)
    return Figure(
        "gpus",
        "Samples to the target over GPUs",
        "The median over seeds; a line joins the arms of one schedule. On the dashed line, N GPUs "
        "need no more samples than 1 GPU, so that the job is N times as short. An arm whose median "
        "did not reach the target is not drawn.",
        f"Median samples to the target over GPUs. {said}.",
        partial(_draw, placed, keys),
        Table("By GPUs", ("schedule", "GPUs", "median samples to target", "reached"), rows),
        keys,
    )


def _line_of(arm: ArmSummary) -> str:
    """What the line of an arm is called: its label without the number of GPUs."""
    if arm.study is not None:
        return arm.record.schedule
    words = [word for word in arm.short.split() if not word.startswith("gpus=")]
    return " ".join(words) or arm.record.schedule


def _draw(placed: Sequence[_Placed], keys: Styles, size: Size) -> Any:
    import altair as alt

    known = [each for each in placed if math.isfinite(each.median)]
    rows = [
        {"arm": each.arm.short, "line": each.line, "gpus": each.arm.gpus, "samples": each.median,
         "said": f"{each.arm.short}\n{each.median:,.0f} samples"}
        for each in known
    ]  # fmt: skip
    values = [each.median for each in known] or [1.0]
    limits = (0.0, 1.08 * max(values))
    counts = sorted({each.arm.gpus for each in placed})
    x = alt.X(
        "gpus:Q",
        title="GPUs (logarithmic)",
        scale=alt.Scale(type="log", base=2, domain=[counts[0], counts[-1]], nice=False, padding=10),
        axis=alt.Axis(values=counts, format="d"),
    )
    y = alt.Y(
        "samples:Q",
        title=f"samples to {goal([each.arm for each in placed])} (fewer is better)",
        scale=alt.Scale(domain=list(limits), nice=False),
        axis=count_axis(),
    )
    base = alt.Chart(inline(rows)).encode(x=x, y=y)
    line = base.mark_line(strokeWidth=1.5, color=MUTED).encode(detail="line:N")
    points = base.mark_point(size=70, filled=True, opacity=1).encode(
        color=arm_color(keys), shape=arm_mark(keys), description="said:N"
    )
    layers: list[Any] = [line, points]
    ends = {each.line: each.median for each in known}
    width = size.plot - size.wide * round(max(map(text_width, ends), default=0.0))
    baselines = [each.median for each in known if each.arm.is_baseline]
    if baselines:
        ideal = alt.Chart(inline([{"samples": baselines[0], "name": "ideal: as many as 1 GPU"}]))
        layers += [
            ideal.mark_rule(color=MUTED, strokeDash=[4, 3]).encode(y=y),
            ideal.mark_text(color=MUTED, align="right", baseline="top", dx=-4, dy=3).encode(
                x=alt.value(width), y=y, text="name:N"
            ),
        ]
    if size.wide:
        layers += names_at_right(ends, limits, HEIGHT, width)
    return alt.layer(*layers).properties(width=width, height=HEIGHT)
