"""GPU-hours over the time to the target, for each number of GPUs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from bsscale.critical_batch.cost import Cost
from bsscale.report.charts.figure import Figure, arm_color, arm_mark, digits, inline
from bsscale.report.charts.scaling import log_domain
from bsscale.report.drawing import Size
from bsscale.report.palette import MUTED, Styles
from bsscale.report.tables import Table

__all__ = ["cost_figures"]

HEIGHT = 260


def cost_figures(costs: Mapping[str, Sequence[Cost]], keys: Styles) -> list[Figure]:
    """The figure; none where no throughput is known."""
    known = [
        (name, each)
        for name, found in costs.items()
        for each in found
        if math.isfinite(each.time_s)
    ]
    if not known:
        return []
    rows = [
        [name, str(each.gpus), f"{each.time_s:.4g}", f"{each.gpu_hours:.4g}"]
        for name, each in known
    ]
    front = [f"{name} at {each.gpus} GPUs" for name, each in known if each.worth_it]
    return [
        Figure(
            "cost_over_time",
            "GPU-hours over the time to the target",
            "A mark a number of GPUs, which stands beside it. Large marks are worth it: no other "
            "number of GPUs of the arm is both faster and cheaper.",
            f"GPU-hours over the time to the target. Worth it: {', '.join(front)}.",
            partial(_draw, known, {name: keys[name] for name in costs}),
            Table(
                "GPU-hours over time", ("arm", "GPUs", "seconds to the target", "GPU-hours"), rows
            ),
            {name: keys[name] for name in costs},
        )
    ]


def _draw(known: Sequence[tuple[str, Cost]], keys: Styles, size: Size) -> Any:
    import altair as alt

    rows: list[dict[str, Any]] = [
        {
            "arm": name, "time": digits(each.time_s), "hours": digits(each.gpu_hours),
            "gpus": str(each.gpus), "size": 90 if each.worth_it else 25,
            "said": f"{name}\n{each.gpus} GPUs",
        }
        for name, each in known
    ]  # fmt: skip
    time, hours = (
        alt.Scale(type="log", nice=False, domain=log_domain([float(row[each]) for row in rows]))
        for each in ("time", "hours")
    )
    x = alt.X("time:Q", title="seconds to the target, logarithmic", scale=time)
    y = alt.Y("hours:Q", title="GPU-hours, logarithmic", scale=hours)
    base = alt.Chart(inline(rows)).encode(x=x, y=y)
    line = base.mark_line(strokeWidth=1, color=MUTED).encode(detail="arm:N")
    marks = base.mark_point(filled=True, opacity=1).encode(
        color=arm_color(keys),
        shape=arm_mark(keys),
        size=alt.Size("size:Q", scale=None),
        description="said:N",
    )
    names = base.mark_text(align="left", dx=8, dy=-6).encode(text="gpus:N")
    return alt.layer(line, marks, names).properties(width=size.plot, height=HEIGHT)
