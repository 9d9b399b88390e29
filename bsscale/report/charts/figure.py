"""The figures of a report, and their common parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bsscale.report.figures import colors, dashes
from bsscale.report.tables import (
    Table,
)

if TYPE_CHECKING:
    import altair as alt

__all__ = [
    "Figure",
    "arm_encodings",
    "chosen_arm",
    "digits",
    "sample_axis",
    "shown_points",
    "shown_rows",
]

# The most points of a line that are visible, and the most in all that keep the page small.
MOST_POINTS, MOST_POINTS_IN_ALL = 300, 2000
MOST_ROWS, MOST_ROWS_IN_ALL = 60, 600
# How a run is drawn.
SHAPES = {"reached": "circle", "not reached": "triangle-right", "diverged": "cross"}


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name
        Its file's name, without an ending.
    title, caption
        Above it.
    text
        What it shows, for who does not see it.
    chart
        An Altair chart without a width.
    table
        Its data.
    keys
        The names behind its colours and dashes, in the order of the palette.
    """

    name: str
    title: str
    caption: str
    text: str
    chart: alt.LayerChart | alt.FacetChart | alt.Chart
    table: Table
    keys: tuple[str, ...] = ()


def arm_encodings(names: Sequence[str], *, dashed: bool = True) -> dict[str, Any]:
    """A colour and a dash pattern for each arm, the same in every figure."""
    import altair as alt

    # One name a line, under the figure: a phone is narrower than two names. A line is its symbol
    # even where points or a band share the legend.
    legend = alt.Legend(
        orient="bottom",
        columns=1,
        title=None,
        labelLimit=310,
        symbolType="stroke",
        symbolSize=700,
        symbolStrokeWidth=2,
        symbolOpacity=1,
    )
    found: dict[str, Any] = {
        "color": alt.Color(
            "arm:N",
            scale=alt.Scale(domain=list(names), range=colors(names)),
            legend=legend,
        )
    }
    if dashed:
        found["strokeDash"] = alt.StrokeDash(
            "arm:N", scale=alt.Scale(domain=list(names), range=dashes(names)), legend=legend
        )
    return found


def chosen_arm() -> tuple[Any, Any]:
    """A parameter that names the arm to bring out, and the opacity that does so."""
    import altair as alt

    chosen = alt.param("chosen", value="")
    bright = alt.when("!chosen || datum.arm === chosen").then(alt.value(1))
    return chosen, bright.otherwise(alt.value(0.15))


def sample_axis(**settings: Any) -> alt.X:
    """The x axis in samples; `settings` are Altair's."""
    import altair as alt

    axis = alt.Axis(format="~s", tickCount=6, labelOverlap=True)
    return alt.X("samples:Q", title=settings.pop("title", "samples"), axis=axis, **settings)


def shown_points(points: Sequence[Any], lines: int = 1) -> list[Any]:
    """The points to draw of one of `lines` lines."""
    return _thinned(points, min(MOST_POINTS, MOST_POINTS_IN_ALL // lines))


def shown_rows(points: Sequence[Any], lines: int) -> list[Any]:
    """The points to list in a table, of one of `lines` lines."""
    return _thinned(points, min(MOST_ROWS, MOST_ROWS_IN_ALL // lines))


def digits(value: float) -> float:
    """The value rounded to the digits that are visible."""
    return float(f"{value:.6g}")


def _thinned(points: Sequence[Any], most: int) -> list[Any]:
    most = max(most, 4)
    if len(points) <= most:
        return list(points)
    last = len(points) - 1
    return [points[round(each * last / (most - 1))] for each in range(most)]
