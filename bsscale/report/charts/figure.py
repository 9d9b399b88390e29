"""The figures of a report, and their common parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bsscale.report.comparison import ArmSummary
from bsscale.report.drawing import Draw
from bsscale.report.palette import INK, Style, Styles, styles
from bsscale.report.tables import Table

if TYPE_CHECKING:
    import altair as alt

__all__ = [
    "Figure",
    "Rows",
    "arm_color",
    "arm_dash",
    "arm_mark",
    "count_axis",
    "digits",
    "inline",
    "named",
    "names_at_right",
    "sample_axis",
    "shown_points",
    "shown_rows",
    "styles_of",
    "text_width",
]

Rows = Sequence[Mapping[str, Any]]
# The most points of a line that are visible, and the most in all that keep the page small.
MOST_POINTS, MOST_POINTS_IN_ALL = 300, 2000
MOST_ROWS, MOST_ROWS_IN_ALL = 60, 600
# Height of a line of names, and width of a letter of them, in pixels.
LINE, LETTER = 15.0, 6.6


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
        Its result, for who does not see it.
    draw
        Makes the chart at a size.
    table
        Its data.
    keys
        What its colours, dashes and marks stand for.
    on_page
        Whether the page shows it; the page has the forest plot as a column of its table.
    """

    name: str
    title: str
    caption: str
    text: str
    draw: Draw
    table: Table
    keys: Styles = field(default_factory=dict)
    on_page: bool = True


def styles_of(arms: Sequence[ArmSummary]) -> Styles:
    """How each arm of a report is drawn, by its short label; give all arms of the report."""
    return styles((arm.short, arm.record.schedule, _role(arm)) for arm in arms)


def _role(arm: ArmSummary) -> str | None:
    if arm.role is not None:
        return arm.role
    # (The GPUs of an imported arm may not be known; they are 0 then.)
    return "baseline" if arm.is_baseline and arm.gpus <= 1 else None


def inline(rows: Rows) -> alt.Data:
    """Rows as a chart's data, inside its specification."""
    import altair as alt

    return alt.Data(values=list(rows))  # type: ignore[no-untyped-call]


def arm_color(keys: Styles) -> alt.Color:
    """The colour of each arm, by the field `arm`."""
    import altair as alt

    return alt.Color("arm:N", scale=_scale(keys, [k.color for k in keys.values()]), legend=None)


def arm_dash(keys: Styles) -> alt.StrokeDash:
    """The dash of each arm, by the field `arm`."""
    import altair as alt

    dashes = [list(k.dash) for k in keys.values()]
    return alt.StrokeDash("arm:N", scale=_scale(keys, dashes), legend=None)


def arm_mark(keys: Styles, states: Mapping[str, str] | None = None) -> alt.Shape:
    """The mark of each arm, by the field `arm`.

    Parameters
    ----------
    keys
        How each arm is drawn.
    states
        Further marks by their names, such as that of runs that diverged; the field is `shape` then.
    """
    import altair as alt

    marks = {name: style.mark for name, style in keys.items()} | dict(states or {})
    scale = alt.Scale(domain=list(marks), range=list(marks.values()))
    return alt.Shape("arm:N" if states is None else "shape:N", scale=scale, legend=None)


def _scale(keys: Styles, values: list[Any]) -> alt.Scale:
    import altair as alt

    return alt.Scale(domain=list(keys), range=values)


def sample_axis(title: str = "training samples", **settings: Any) -> alt.X:
    """The x axis in samples; `settings` are Altair's."""
    import altair as alt

    return alt.X("samples:Q", title=title, axis=count_axis(), **settings)


def count_axis(ticks: int = 5) -> alt.Axis:
    """An axis of large whole numbers, such as 200k."""
    import altair as alt

    text = "datum.value == 0 ? '0' : format(datum.value, '~s')"
    return alt.Axis(labelExpr=text, tickCount=ticks, labelOverlap=True)


def names_at_right(
    ends: Mapping[str, float],
    domain: tuple[float, float],
    height: float,
    width: float,
    keys: Styles | None = None,
) -> list[alt.Chart]:
    """Names to the right of a plot, each beside the end of its line, none over another.

    Parameters
    ----------
    ends
        For each line its name, and its last value.
    domain
        The limits of the linear y axis.
    height, width
        Of the plot, in pixels.
    keys
        How the lines are drawn; None: there is nothing to distinguish.
    """
    low, high = domain
    places = spread_out([height * (high - value) / (high - low) for value in ends.values()])
    layers = []
    for name, place in zip(ends, places, strict=True):
        layers += named(name, width + 14, place, None if keys is None else keys[name])
    return layers


def named(name: str, x: float, y: float, style: Style | None = None) -> list[alt.Chart]:
    """A name that begins at a place in pixels, after the mark of its arm."""
    import altair as alt

    base = alt.Chart(inline([{"name": name}]))
    text = base.mark_text(align="left", baseline="middle", color=INK).encode(
        x=alt.value(x + 4 if style else x - 6), y=alt.value(y), text="name:N"
    )
    if style is None:
        return [text]
    mark = base.mark_point(size=45, filled=True, opacity=1, shape=style.mark, color=style.color)
    return [mark.encode(x=alt.value(x - 5), y=alt.value(y)), text]


def spread_out(places: Sequence[float], gap: float = LINE) -> list[float]:
    """Places at least a gap apart, in the same order, close to the given ones."""
    order = sorted(range(len(places)), key=lambda each: places[each])
    # Groups of neighbours that would overlap move together, centred on their mean.
    groups: list[list[int]] = []
    for each in order:
        groups.append([each])
        while len(groups) > 1 and _top(groups[-1], places, gap) < _bottom(groups[-2], places, gap):
            groups[-2:] = [groups[-2] + groups[-1]]
    found = [0.0] * len(places)
    for group in groups:
        top = _top(group, places, gap) + gap / 2
        for number, each in enumerate(group):
            found[each] = top + number * gap
    return found


def _top(group: Sequence[int], places: Sequence[float], gap: float) -> float:
    return sum(places[each] for each in group) / len(group) - gap * len(group) / 2


def _bottom(group: Sequence[int], places: Sequence[float], gap: float) -> float:
    return _top(group, places, gap) + gap * len(group)


def text_width(text: str) -> float:
    """About how wide a text is drawn, in pixels."""
    return LETTER * len(text)


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
