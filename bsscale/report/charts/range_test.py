"""Range tests: the curve of each seed, the zones of the learning rate, and the chosen cycle."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from bsscale.objectives import Criterion
from bsscale.report.charts.figure import Figure, digits, inline, shown_points, text_width
from bsscale.report.drawing import WIDE, Size
from bsscale.report.palette import COLORS, INK, MUTED
from bsscale.report.read import FoundRangeTest
from bsscale.report.tables import range_test_table
from bsscale.stats.range_test import Curve, Suggestion
from bsscale.terminal.words import counted

__all__ = ["Lines", "limits_of", "range_test_figure", "suggestion_chart"]

HEIGHT = 200
# A rate is too slow while a test has gained less than this share of what it gains in all.
GAINED = 0.1

Lines: TypeAlias = Mapping[str, Sequence[tuple[float, float]]]
"""For each seed, learning rates in rising order, and what was measured at each."""


@dataclass(frozen=True)
class _Zones:
    """The limits of the zones of a range test: rates, in rising order."""

    lowest: float
    usable: float
    edge: float
    highest: float


def range_test_figure(test: FoundRangeTest, suffix: str) -> Figure | None:
    """The metric and the loss over the learning rate, with the zones and the chosen cycle."""
    panels = {
        quantity: lines
        for quantity in (test.criterion, Criterion(test.loss, "min"))
        if (lines := _lines(test, quantity.name))
    }
    if test.criterion not in panels:
        return None
    zones = _zones(panels[test.criterion], test.criterion, test.marks.get("lowest edge"))
    cycle = [test.marks[name] for name in ("cycle_min_lr", "cycle_max_lr") if name in test.marks]
    title = test.criterion.title
    chosen = f" The chosen cycle: {cycle[0]:.3g} to {cycle[1]:.3g}." if len(cycle) == 2 else ""
    limits = (
        f"Below {zones.usable:.3g} it is too slow, from there to {zones.edge:.3g} usable, and "
        "above it diverges."
    )
    return Figure(
        f"range_test{suffix}",
        f"Range test{_at(test)}: which learning rates can be used",
        f"Validation {title} while the learning rate grows, a line a seed. {limits} Too slow: "
        f"less than {GAINED:.0%} of the gain of the whole test (median). Diverges: above the "
        f"lowest rate at which a seed did.{chosen} How it was chosen: "
        f"{test.reason or 'not recorded'}.",
        f"Validation {title} over the learning rate of a range test. {limits}{chosen}",
        partial(_chart, panels, test.criterion, test.marks.get("lowest edge"), cycle),
        range_test_table(test),
    )


def _at(test: FoundRangeTest) -> str:
    return "" if test.gpus is None else f" at {counted(test.gpus, 'GPU')}"


def _lines(test: FoundRangeTest, quantity: str) -> dict[str, list[tuple[float, float]]]:
    lines = {
        seed: [
            (point.lr, value)
            for point in points
            if point.lr is not None and point.lr > 0
            and (value := point.metrics.get(quantity)) is not None
            and math.isfinite(value)
        ]
        for seed, points in test.curves.items()
    }  # fmt: skip
    return {seed: line for seed, line in lines.items() if line}


def _chart(
    panels: Mapping[Criterion, Lines],
    judge: Criterion,
    edge: float | None,
    cycle: Sequence[float],
    size: Size = WIDE,
) -> Any:
    """A panel for each quantity over the learning rate, with the zones and the chosen cycle.

    Parameters
    ----------
    panels
        What to draw; values are finite, and the judge is among them.
    judge
        The metric that the zones follow from.
    edge
        The lowest rate at which a seed diverged; None: none did.
    cycle
        The lowest and the highest rate of the chosen cycle; empty: none.
    size
        How wide.
    """
    import altair as alt

    zones = _zones(panels[judge], judge, edge)
    charts = [
        _panel(lines, quantity, zones, cycle, size, number == 0, number == len(panels) - 1)
        for number, (quantity, lines) in enumerate(panels.items())
    ]
    return alt.vconcat(*charts, spacing=12) if len(charts) > 1 else charts[0]


def suggestion_chart(
    curves: Mapping[int, Curve],
    suggestion: Suggestion | None,
    edge: float,
    criterion: Criterion,
    loss: str,
) -> Any:
    """The same chart, of a range test that has just been made.

    Parameters
    ----------
    curves
        For each seed, its evaluations.
    suggestion
        What follows from them; None: no cycle does.
    edge
        The lowest rate at which a seed diverged.
    criterion, loss
        The metric, and the name of the metric that is the validation loss.
    """
    panels: dict[Criterion, Lines] = {}
    for quantity, name in ((criterion, "values"), (Criterion(loss, "min"), "loss")):
        lines = {
            str(seed): [
                (lr, value)
                for lr, value in zip(curve.lr.tolist(), getattr(curve, name).tolist(), strict=True)
                if math.isfinite(value)
            ]
            for seed, curve in curves.items()
        }
        panels[quantity] = {seed: line for seed, line in lines.items() if line}
    cycle = () if suggestion is None else (suggestion.cycle_min_lr, suggestion.cycle_max_lr)
    return _chart({k: v for k, v in panels.items() if v}, criterion, edge, cycle)


def _zones(lines: Lines, judge: Criterion, edge: float | None) -> _Zones:
    rates = [lr for line in lines.values() for lr, _ in line]
    starts = []
    for line in lines.values():
        gains = [judge.sign * (value - line[0][1]) for _, value in line]
        enough = GAINED * max(gains)
        starts.append(next(lr for (lr, _), gain in zip(line, gains, strict=True) if gain >= enough))
    highest = max(rates)
    edge = highest if edge is None else min(edge, highest)
    return _Zones(min(rates), min(statistics.median(starts), edge), edge, highest)


def _panel(
    lines: Lines,
    quantity: Criterion,
    zones: _Zones,
    cycle: Sequence[float],
    size: Size,
    first: bool,
    last: bool,
) -> Any:
    import altair as alt

    low, high = limits_of(lines, quantity.sign, room_above=first)
    x = alt.X(
        "lr:Q",
        title="learning rate (logarithmic)" if last else None,
        scale=alt.Scale(type="log", nice=False, domain=[zones.lowest, zones.highest]),
        axis=alt.Axis(format="~g", labelOverlap=True, tickCount=5, grid=False),
    )
    parts = [
        ("too slow", zones.lowest, zones.usable, MUTED),
        ("usable", zones.usable, zones.edge, COLORS[2]),
        ("diverges", zones.edge, zones.highest, COLORS[1]),
    ]
    layers: list[Any] = []
    for name, start, end, color in parts:
        if not start < end:
            continue
        middle = math.sqrt(start * end)
        base = alt.Chart(inline([{"lr": start, "end": end, "zone": name, "middle": middle}]))
        layers.append(base.mark_rect(color=color, opacity=0.14).encode(x=x, x2="end:Q"))
        share = math.log(end / start) / math.log(zones.highest / zones.lowest)
        if first and share * size.plot > text_width(name):
            text = base.mark_text(baseline="top", dy=5, color=INK)
            layers.append(text.encode(x=alt.X("middle:Q"), y=alt.value(0), text="zone:N"))
    rows = [
        {
            "seed": seed,
            "lr": lr,
            "value": digits(min(max(value, low), high)),
            "said": f"seed {seed}",
        }
        for seed, line in lines.items()
        for lr, value in shown_points(line, len(lines))
    ]
    better = "higher" if quantity.sign > 0 else "lower"
    y = alt.Y(
        "value:Q",
        title=[f"validation {quantity.title}", f"({better} is better)"],
        scale=alt.Scale(domain=[low, high], zero=False, nice=False),
        axis=alt.Axis(tickCount=5, format="~g"),
    )
    dash = alt.StrokeDash("seed:N", legend=None)
    layers.append(
        alt.Chart(inline(rows))
        .mark_line(strokeWidth=1.5, color=INK, clip=True)
        .encode(x=x, y=y, strokeDash=dash, detail="seed:N", description="said:N")
    )
    if len(cycle) == 2:
        base = alt.Chart(inline([{"lr": cycle[0], "end": cycle[1], "name": "the chosen cycle"}]))
        at = alt.value(HEIGHT - 12)
        layers.append(base.mark_rule(color=COLORS[0], strokeWidth=4).encode(x=x, x2="end:Q", y=at))
        if first:
            text = base.mark_text(color=INK, baseline="bottom", align="right", dy=-6)
            layers.append(text.encode(x=alt.X("end:Q"), y=at, text="name:N"))
    return alt.layer(*layers).properties(width=size.plot, height=HEIGHT)


def limits_of(lines: Lines, sign: int, *, room_above: bool = False) -> tuple[float, float]:
    """The limits of the axis of a quantity, without most of what lies on its bad side.

    A loss of 1e30 would otherwise make the rest of the curve flat.

    Parameters
    ----------
    lines
        What to draw; at least one value.
    sign
        1 where higher values are better, -1 where lower ones are.
    room_above
        Whether words are written at the top.
    """
    values = [sign * value for line in lines.values() for _, value in line]
    start = min(sign * line[0][1] for line in lines.values())
    best, worst = max(values), min(values)
    # Of what is 0 or more and falls, three times the lowest is far off; else twice the way down.
    cut = min(3 * best, start) if sign < 0 else start - 2 * (best - start)
    cut = max(cut, worst) if cut < best else worst
    room = 0.04 * (best - cut or abs(best) or 1.0)
    low, high = sorted((sign * cut, sign * (best + room)))
    return low, high + (2.5 * room if room_above else 0.0)
