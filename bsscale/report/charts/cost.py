"""What a study cost: the samples that each of its parts was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from bsscale.report.charts.figure import Figure, count_axis, inline
from bsscale.report.comparison import Comparison
from bsscale.report.drawing import Size
from bsscale.report.palette import INK, MUTED
from bsscale.report.read import FoundStudy
from bsscale.report.tables import Table

__all__ = ["cost_figure"]

ROW_HEIGHT = 24


def cost_figure(comparison: Comparison, studies: Sequence[FoundStudy]) -> Figure | None:
    """The samples of tuning, target, range test and arms; None without the cost of a study."""
    parts = [part for study in studies for part in _parts(study, comparison, len(studies) > 1)]
    if not parts:
        return None
    whole = sum(samples for _, samples in parts) or 1
    rows = [[name, f"{samples:,}", f"{samples / whole:.0%}"] for name, samples in parts]
    said = "; ".join(f"{name} {share}" for name, _, share in rows)
    return Figure(
        "cost",
        "What the study cost",
        f"{whole:,} training samples in all. The arms are the comparison itself; the rest settles "
        "the rates, the target and the cycles before it.",
        f"{whole:,} training samples in all: {said}.",
        partial(_draw, parts),
        Table("Cost", ("part", "training samples", "share"), rows),
    )


def _parts(study: FoundStudy, comparison: Comparison, several: bool) -> list[tuple[str, int]]:
    record = study.record
    if not record.cost.samples:
        return []
    before = f"{record.name}: " if several else ""
    parts = [(f"tuning of {tuning.name}", tuning.samples) for tuning in record.tunings]
    runs = sum(
        run.record.samples_seen for arm in comparison.arms for run in arm.runs if run.study is study
    )
    rest = record.cost.samples - runs - sum(samples for _, samples in parts)
    parts += [("target and range tests", rest)] if rest > 0 else []
    return [(before + name, samples) for name, samples in [*parts, ("the arms", runs)]]


def _draw(parts: Sequence[tuple[str, int]], size: Size) -> Any:
    import altair as alt

    whole = sum(samples for _, samples in parts) or 1
    rows = [
        {
            "part": name,
            "samples": samples,
            "text": f"{samples / 1e6:,.2f} M ({samples / whole:.0%})",
        }
        for name, samples in parts
    ]
    names = [name for name, _ in parts]
    y = alt.Y("part:N", sort=names, title=None, axis=alt.Axis(domain=False, ticks=False))
    # (A number stands to the right of its bar.)
    most = 1.45 if not size.wide else 1.2
    x = alt.X(
        "samples:Q",
        title="training samples",
        axis=count_axis(4),
        scale=alt.Scale(domain=[0, most * max(samples for _, samples in parts)], nice=False),
    )
    base = alt.Chart(inline(rows)).encode(x=x, y=y)
    bars = base.mark_bar(color=MUTED, height=14)
    texts = base.mark_text(align="left", baseline="middle", dx=5, color=INK).encode(text="text:N")
    return alt.layer(bars, texts).properties(width=size.plot - 130, height=ROW_HEIGHT * len(parts))
