"""The metric of each arm over samples, above its learning rate, on one axis."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bsscale.objectives import Criterion
from bsscale.report.charts.figure import (
    LINE,
    Figure,
    arm_color,
    arm_dash,
    arm_mark,
    digits,
    inline,
    named,
    sample_axis,
    shown_points,
    shown_rows,
    styles_of,
    text_width,
)
from bsscale.report.charts.rates import Line, rate_line, rate_panel, span
from bsscale.report.comparison import ArmSummary, Comparison, CurvePoint
from bsscale.report.drawing import Size
from bsscale.report.palette import MUTED, Styles
from bsscale.report.rebuilt import longest_run
from bsscale.report.summarize import QUARTILES_FROM
from bsscale.report.tables import Table, number

__all__ = ["convergence_figures"]

HEIGHT, RATE_HEIGHT = 280, 130
# How much further than the slowest seed that reached its target the axis goes.
BEYOND = 1.06


def convergence_figures(comparison: Comparison) -> list[Figure]:
    """For each metric that arms are judged by, each arm's median over samples, and its rate."""
    criteria = comparison.criteria
    found = styles_of(comparison.arms)
    shown = [
        (criterion, [arm for arm in comparison.arms if arm.curve and arm.criterion == criterion])
        for criterion in criteria
    ]
    return [
        _convergence(criterion, arms, {arm.short: found[arm.short] for arm in arms}, len(shown) > 1)
        for criterion, arms in shown
        if arms
    ]


@dataclass(frozen=True)
class _Drawn:
    """What a figure is drawn from.

    Attributes
    ----------
    title
        Of the metric.
    better
        Whether higher or lower is better, in words.
    curves, rates
        Of each arm, by its label.
    hits
        Of each arm, the samples at which each seed reached the target.
    targets
        Values of the metric.
    end
        The last samples of the axis.
    limits
        The lowest and the highest value of the metric on its axis.
    sign
        1 where higher values are better, -1 where lower ones are.
    keys
        How each arm is drawn.
    """

    title: str
    better: str
    curves: Mapping[str, Sequence[CurvePoint]]
    rates: Mapping[str, Line]
    hits: Mapping[str, Sequence[tuple[int, float, float]]]
    targets: Sequence[float]
    end: float
    limits: tuple[float, float]
    sign: int
    keys: Styles


def _convergence(criterion: Criterion, arms: list[ArmSummary], keys: Styles, mixed: bool) -> Figure:
    curves = {arm.short: _until_one_stopped(arm) for arm in arms}
    hits = {
        arm.short: [
            (each.seed, each.samples, arm.target)
            for each in arm.seeds
            if math.isfinite(each.samples) and arm.target is not None
        ]
        for arm in arms
    }
    slowest = max((samples for each in hits.values() for _, samples, _ in each), default=0.0)
    longest = max(curve[-1].samples for curve in curves.values())
    end = BEYOND * slowest if slowest else float(longest)
    targets = sorted({arm.target for arm in arms if arm.target is not None})
    rates = {arm.short: rate_line(arm) for arm in arms}
    drawn = _Drawn(
        title=criterion.title,
        better=f"{'higher' if criterion.sign > 0 else 'lower'} is better",
        curves=curves,
        rates={name: line for name, line in rates.items() if line.points},
        hits=hits,
        targets=targets,
        end=end,
        limits=_limits(curves, targets, end, criterion.sign),
        sign=criterion.sign,
        keys=keys,
    )
    title = f"{criterion.title}{' and learning rate' if drawn.rates else ''} over samples"
    name = f"convergence_{criterion.name}" if mixed else "convergence"
    return Figure(
        name,
        title,
        _caption(criterion, arms, drawn),
        _text(criterion, arms, drawn),
        partial(_draw, drawn),
        _table(title, criterion, arms, drawn),
        keys,
    )


def _until_one_stopped(arm: ArmSummary) -> tuple[CurvePoint, ...]:
    """The curve of an arm as far as every run was trained.

    A run stops once it has reached its target. From then on, a median would be of the slow runs
    only, or of values that a run no longer has. A run that diverged keeps its last value, which it
    would not have improved.
    """
    ends = [
        run.evals[-1].samples
        for run in arm.runs
        if run.evals and run.record.status not in ("failed", "diverged")
    ]
    end = min(ends, default=arm.curve[-1].samples)
    return tuple(point for point in arm.curve if point.samples <= end) or arm.curve[:1]


def _limits(
    curves: Mapping[str, Sequence[CurvePoint]], targets: Sequence[float], end: float, sign: int
) -> tuple[float, float]:
    """The limits of the axis: the steep beginning is cut off, so that it does not flatten the rest.

    The axis shows every arm from a twentieth of the samples on, but no more than half of the way
    from the untrained models to the best value: an arm that fails does not flatten the others.
    """

    def early(curve: Sequence[CurvePoint]) -> float:  # (signed: higher is better)
        point = next((p for p in curve if p.samples >= end / 20), curve[-1])
        return min(sign * point.low, sign * point.high)

    seen = [[p for p in curve if p.samples <= end] or curve[:1] for curve in curves.values()]
    goals = [sign * target for target in targets]
    best = max([*(max(sign * p.low, sign * p.high) for curve in seen for p in curve), *goals])
    untrained = statistics.median(sign * curve[0].median for curve in seen)
    worst = min([*map(early, seen), *goals])
    cut = max(worst, (untrained + best) / 2)
    cut = cut if cut < best else worst  # (a curve that only gets worse is not cut)
    room = 0.03 * (best - cut or abs(best) or 1.0)
    low, high = sorted((sign * (cut - room), sign * (best + room)))
    return digits(low), digits(high)


def _draw(drawn: _Drawn, size: Size) -> Any:
    import altair as alt

    placed, rows_of_names = _placed(drawn, size) if size.wide else ([], 0)
    # (The names of the curves lie above the best value, in rows.)
    height = HEIGHT + LINE * rows_of_names
    low, high = drawn.limits
    room = (high - low) * (height / HEIGHT - 1)
    low, high = (low, high + room) if drawn.sign > 0 else (low - room, high)
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    samples = alt.Scale(domain=[0, drawn.end], nice=False)
    x = sample_axis(scale=samples)
    silent = alt.X("samples:Q", scale=samples, axis=alt.Axis(labels=False, title=None, tickCount=5))
    silent = silent if drawn.rates else x
    rows = [
        {"arm": arm, "samples": p.samples, "value": digits(p.median), "low": digits(p.low),
         "high": digits(p.high), "said": arm}
        for arm, curve in drawn.curves.items()
        for p in shown_points(curve, len(drawn.curves))
    ]  # fmt: skip
    base = alt.Chart(inline(rows)).encode(x=silent, color=arm_color(drawn.keys))
    y = alt.Y(
        "value:Q",
        title=f"validation {drawn.title} ({drawn.better})",
        scale=scale,
        axis=alt.Axis(tickCount=5, format="~g"),
    )
    band = base.mark_area(opacity=0.12, clip=True).encode(
        y=alt.Y("low:Q", scale=scale), y2="high:Q"
    )
    line = base.mark_line(strokeWidth=2, clip=True).encode(
        y=y, strokeDash=arm_dash(drawn.keys), description="said:N"
    )
    hits = [
        {"arm": arm, "samples": samples, "value": target,
         "said": f"{arm}\nseed {seed} reaches {target:.4g} after {samples:,.0f} samples"}
        for arm, each in drawn.hits.items()
        for seed, samples, target in each
    ]  # fmt: skip
    dots = (
        alt.Chart(inline(hits))
        .mark_point(size=42, filled=True, opacity=0.9)
        .encode(
            x=silent,
            y=alt.Y("value:Q", scale=scale),
            color=arm_color(drawn.keys),
            shape=arm_mark(drawn.keys),
            description="said:N",
        )
    )
    marks = [{"value": each, "label": f"target {each:.4g}"} for each in drawn.targets]
    rule = alt.Chart(inline(marks)).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(
        y=alt.Y("value:Q", scale=scale)
    )  # fmt: skip
    above = alt.Chart(inline(marks)).mark_text(
        align="left", baseline="bottom" if drawn.sign > 0 else "top", dx=4, color=MUTED
    ).encode(x=alt.value(0), y=alt.Y("value:Q", scale=scale), text="label:N")  # fmt: skip
    names = _names(placed, height, (low, high), drawn)
    top = alt.layer(band, rule, above, line, dots, *names).properties(
        width=size.plot, height=height
    )
    if not drawn.rates:
        return top
    bottom = rate_panel(drawn.rates, drawn.keys, size, x, RATE_HEIGHT, "lr")
    return alt.vconcat(top, bottom, spacing=12).resolve_scale(x="shared", color="independent")


@dataclass(frozen=True)
class _Name:
    """A name over a curve: where its curve ends, in pixels and in the metric, and its row."""

    arm: str
    x: float
    value: float
    row: int


def _placed(drawn: _Drawn, size: Size) -> tuple[list[_Name], int]:
    """The names in rows over the ends of their curves, none over another; and how many rows."""
    ends = []
    for arm, curve in drawn.curves.items():
        last = [p for p in curve if p.samples <= drawn.end][-1:] or curve[:1]
        ends.append((last[0].samples / drawn.end * size.plot, last[0].median, arm))
    placed: list[_Name] = []
    # From the right: the line of a name then passes no name below it.
    for x, value, arm in sorted(ends, reverse=True):
        right = x + text_width(arm) + 20
        row = 1 + max((name.row for name in placed if name.x < right), default=-1)
        placed.append(_Name(arm, x, value, row))
    return placed, 1 + max((name.row for name in placed), default=-1)


def _names(
    placed: Sequence[_Name], height: float, limits: tuple[float, float], drawn: _Drawn
) -> list[Any]:
    """The names, each with a line to the end of its curve."""
    import altair as alt

    low, high = limits
    layers = []
    for name in placed:
        style = drawn.keys[name.arm]
        from_edge = height - HEIGHT - LINE * (name.row + 0.5)
        y = from_edge if drawn.sign > 0 else height - from_edge
        end = height * (high - min(max(name.value, low), high)) / (high - low)
        line = alt.Chart(inline([{}])).mark_rule(color=style.color, opacity=0.6)
        start = y + (LINE / 2 if drawn.sign > 0 else -LINE / 2)
        layers.append(
            line.encode(
                x=alt.value(name.x), x2=alt.value(name.x), y=alt.value(start), y2=alt.value(end)
            )
        )
        layers += named(name.arm, name.x + 5, y, style)
    return layers


def _caption(criterion: Criterion, arms: Sequence[ArmSummary], drawn: _Drawn) -> str:
    most = max(len(arm.runs) for arm in arms)
    band = (
        f"the middle half of the seeds (all of them, with fewer than {QUARTILES_FROM})"
        if most >= QUARTILES_FROM
        else "from the lowest to the highest seed"
    )
    says = (
        f"Above: validation {criterion.title}, the median over seeds, and {band}. A line ends "
        "where its first run stops. A mark on the target's line is a seed that reaches the target "
        "there. The steep beginning is cut off."
    )
    further = [arm for arm, curve in drawn.curves.items() if curve[-1].samples > drawn.end]
    if further:
        says += f" Trained for longer than is shown: {', '.join(further)}."
    if drawn.rates:
        says += " Below: the learning rate, as its schedule says"
        recorded = [arm for arm, line in drawn.rates.items() if not line.exact]
        says += f"; of {', '.join(recorded)}, as evaluations recorded it." if recorded else "."
    return says


def _text(criterion: Criterion, arms: Sequence[ArmSummary], drawn: _Drawn) -> str:
    said = []
    for arm in arms:
        hits = drawn.hits[arm.short]
        words = (
            f"{len(hits)} of {arm.trained} seeds reach the target"
            if arm.target is not None
            else f"ends at {number(drawn.curves[arm.short][-1].median)}"
        )
        rate = drawn.rates.get(arm.short)
        said.append(f"{arm.short}: {words}" + (f", learning rate {span(rate)}" if rate else ""))
    rates = " and learning rate" if drawn.rates else ""
    return f"Validation {criterion.title}{rates} over samples. {'; '.join(said)}."


def _table(title: str, criterion: Criterion, arms: Sequence[ArmSummary], drawn: _Drawn) -> Table:
    rows = []
    for arm in arms:
        rates = {p.samples: p.lr for p in longest_run(arm).evals}
        curve = drawn.curves[arm.short]
        for p in shown_rows(curve, len(arms)):
            rate = rates.get(p.samples)
            shown = "-" if rate is None else f"{rate:.4g}"
            values = [number(each) for each in (p.median, p.low, p.high)]
            rows.append([arm.short, f"{p.samples:,}", *values, shown])
    header = ("arm", "samples", f"median {criterion.title}", "low", "high", "learning rate")
    return Table(title, header, rows)
