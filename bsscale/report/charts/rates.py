"""The learning rate and the momentum of each arm, as the schedule itself says them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

from bsscale.report.charts.figure import (
    Figure,
    arm_color,
    arm_dash,
    digits,
    inline,
    sample_axis,
    shown_points,
    shown_rows,
    styles_of,
)
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.drawing import Size
from bsscale.report.palette import Styles
from bsscale.report.read import FoundRun
from bsscale.report.rebuilt import corners, longest_run, schedule_of
from bsscale.report.tables import Table
from bsscale.schedules import Schedule

__all__ = ["Line", "momentum_figure", "rate_line", "rate_panel"]

Quantity: TypeAlias = Literal["lr", "momentum"]
_TITLES = {"lr": "learning rate", "momentum": "momentum"}


@dataclass(frozen=True)
class Line:
    """A schedule over samples: points of a polygon, in rising order of their samples.

    Attributes
    ----------
    points
        Training samples before the update, and the rate or momentum of it.
    exact
        Whether the schedule itself was drawn; otherwise it is what evaluations recorded.
    """

    points: tuple[tuple[float, float], ...]
    exact: bool


def rate_line(arm: ArmSummary, quantity: Quantity = "lr") -> Line:
    """The learning rate or the momentum of an arm, over the samples of its longest run."""
    run = longest_run(arm)
    schedule = schedule_of(run)
    if schedule is not None and run.record.steps > 0:
        known = _of_schedule(schedule, run, quantity)
        if known:
            return Line(known, exact=True)
    points = [
        (float(p.samples), value)
        for p in run.evals
        if (value := getattr(p, quantity)) is not None and p.samples > 0
    ]
    return Line(tuple(points), exact=False)


def _of_schedule(
    schedule: Schedule, run: FoundRun, quantity: Quantity
) -> tuple[tuple[float, float], ...]:
    batch = run.record.global_batch
    value_of: Callable[[int], float | None] = getattr(schedule, quantity)
    steps = corners(schedule, run.record.steps)
    values = [(step, value_of(step)) for step in shown_points(steps)]
    return tuple((float(step * batch), value) for step, value in values if value is not None)


def rate_panel(
    lines: Mapping[str, Line], keys: Styles, size: Size, x: Any, height: int, quantity: Quantity
) -> Any:
    """A panel with a schedule of each arm over samples.

    Parameters
    ----------
    lines
        By the arm's label.
    keys
        How each is drawn.
    size, height
        Of the panel.
    x
        Its axis.
    quantity
        What it shows.
    """
    import altair as alt

    rows = [
        {"arm": arm, "samples": samples, "value": digits(value), "said": arm}
        for arm, line in lines.items()
        for samples, value in line.points
    ]
    y = alt.Y(
        "value:Q",
        title=_TITLES[quantity],
        scale=alt.Scale(zero=quantity == "lr", nice=True),
        axis=alt.Axis(format="~g", tickCount=4),
    )
    return (
        alt.Chart(inline(rows))
        .mark_line(strokeWidth=2, clip=True)
        .encode(x=x, y=y, color=arm_color(keys), strokeDash=arm_dash(keys), description="said:N")
        .properties(width=size.plot, height=height)
    )


def momentum_figure(comparison: Comparison) -> Figure | None:
    """The momentum of each arm over samples; None where no arm's momentum moves."""
    lines = {arm.short: rate_line(arm, "momentum") for arm in comparison.arms}
    lines = {name: line for name, line in lines.items() if line.points}
    if not any(len({value for _, value in line.points}) > 1 for line in lines.values()):
        return None
    found = styles_of(comparison.arms)
    keys = {name: found[name] for name in lines}
    said = "; ".join(f"{name}: {span(line)}" for name, line in lines.items())
    return Figure(
        "momentum",
        "Momentum",
        "SGD's momentum, or Adam's beta1, over training samples.",
        f"Momentum over training samples by arm. {said}.",
        partial(_momentum, lines, keys),
        line_table("Momentum", "momentum", lines),
        keys,
    )


def _momentum(lines: Mapping[str, Line], keys: Styles, size: Size) -> Any:
    return rate_panel(lines, keys, size, sample_axis(), 160, "momentum")


def span(line: Line) -> str:
    """The lowest and the highest value of a schedule, in words."""
    values = [value for _, value in line.points]
    low, high = min(values), max(values)
    return f"{low:.4g}" + ("" if low == high else f" to {high:.4g}")


def line_table(title: str, quantity: str, lines: Mapping[str, Line]) -> Table:
    """The points of each line."""
    rows: list[Sequence[str]] = [
        [name, f"{samples:,.0f}", f"{value:.4g}"]
        for name, line in lines.items()
        for samples, value in shown_rows(line.points, len(lines))
    ]
    return Table(title, ("arm", "samples", quantity), rows)
