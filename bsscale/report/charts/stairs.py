"""Samples to the target over the number of stairs of a cycle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bsscale.report.charts.figure import (
    Figure,
    arm_encodings,
    chosen_arm,
    digits,
)
from bsscale.report.comparison import Comparison
from bsscale.report.figures import GREY, inline
from bsscale.report.tables import (
    Table,
    samples,
)

if TYPE_CHECKING:
    pass

__all__ = ["stairs_figure"]

STAIRS = "cycle_first_stair_count"


def stairs_figure(comparison: Comparison) -> Figure | None:
    """Samples to the target by stair count; None where the count was not swept."""
    import altair as alt

    counted = []
    for arm in comparison.arms:
        schedule = arm.record.config.get("schedule")
        count = schedule.get(STAIRS) if isinstance(schedule, dict) else None
        if isinstance(count, int) and not isinstance(count, bool) and arm.seeds:
            words = [word for word in arm.short.split() if STAIRS not in word]
            counted.append((count, " ".join(words) or arm.record.schedule, arm))
    counts = sorted({count for count, _, _ in counted})
    if len(counts) < 2:
        return None
    names = list(dict.fromkeys(rest for _, rest, _ in counted))
    finite = [r.samples for _, _, arm in counted for r in arm.seeds if math.isfinite(r.samples)]
    edge = 1.08 * max(finite, default=1.0)
    points, medians, table = [], [], []
    for count, rest, arm in sorted(counted, key=lambda each: each[0]):
        assert arm.samples_to_target is not None
        median = arm.samples_to_target.median
        if math.isfinite(median):
            medians.append({"arm": rest, "stairs": str(count), "samples": median})
        reached = f"{arm.counts['reached']}/{arm.trained}"
        table.append([str(count), rest, samples(median), reached])
        for result in arm.seeds:
            missed = math.isinf(result.samples)
            points.append(
                {
                    "arm": rest,
                    "stairs": str(count),
                    "samples": edge if missed else digits(result.samples),
                    "state": "not reached" if missed else "reached",
                    "seed": result.seed,
                }
            )
    encodings = arm_encodings(names)
    x = alt.X(
        "stairs:O",
        sort=[str(count) for count in counts],
        title="stairs of the rise (0: continuous)",
        axis=alt.Axis(labelAngle=0),
    )
    y = alt.Y("samples:Q", title="samples to the target", axis=alt.Axis(format="~s"))
    # Side by side, or the points of several lines hide each other.
    beside = alt.XOffset("arm:N", scale=alt.Scale(domain=names, paddingOuter=0.3))
    dots = (
        alt.Chart(inline(points))
        .mark_point(size=30, filled=True, opacity=0.7)
        .encode(
            x=x,
            xOffset=beside,
            y=y,
            color=encodings["color"],
            shape=alt.Shape(
                "state:N",
                scale=alt.Scale(domain=["reached", "not reached"], range=["circle", "triangle-up"]),
                legend=alt.Legend(orient="bottom", columns=1, title=None, symbolFillColor=GREY),
            ),
            tooltip=["arm:N", "stairs:O", "seed:Q", "state:N"],
        )
    )
    chosen, faint = chosen_arm()
    line = (
        alt.Chart(inline(medians))
        .mark_line(strokeWidth=2)
        .encode(x=x, xOffset=beside, y=y, opacity=faint, **encodings)
        .add_params(chosen)
    )
    said = "; ".join(f"{row[0]} stairs, {row[1]}: {row[2]}" for row in table)
    return Figure(
        "stairs",
        "Samples to the target by stair count",
        "A point a seed, the line through the medians. Runs that did not reach the target lie at "
        "the upper edge.",
        f"Median samples to the target by cycle_first_stair_count. {said}.",
        alt.layer(line, dots).properties(height=260),
        Table("By stair count", ("stairs", "arm", "median samples to target", "reached"), table),
        tuple(names),
    )
