"""Curves in a terminal, by uniplot, and the chart of task=show_schedule."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bsscale.report.palette import styles

if TYPE_CHECKING:
    import altair as alt

__all__ = ["draw_lines", "schedule_chart"]

_HEIGHT = 13  # lines of a terminal's figure: odd, so that there is a middle one
Points = Sequence[Mapping[str, Any]]


def draw_lines(
    title: str,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    log_x: bool = False,
) -> str:
    """Curves drawn with characters, as wide as the terminal.

    Parameters
    ----------
    title
        Shown above.
    curves
        For each label, x and y.
    log_x
        Whether x is drawn on a logarithmic scale.
    """
    from uniplot import plot_to_string

    colored = sys.stdout.isatty()
    width = max(20, min(shutil.get_terminal_size((80, 24)).columns, 100) - 12)
    y = [value for _, values in curves.values() for value in values]
    low, high = min(y), max(y)
    if low == high:  # a line in the middle
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    text: str = plot_to_string(
        xs=[list(x) for x, _ in curves.values()],
        ys=[list(y) for _, y in curves.values()],
        # A label that is longer than a line continues in the next one.
        legend_labels=[textwrap.fill(label, width, subsequent_indent="   ") for label in curves],
        legend_placement="vertical",
        title=title,
        lines=True,
        x_as_log=log_x,
        y_min=low,
        y_max=high,
        y_labels=False,  # (they are rounded until they are wrong: 0.25 and 0.75 to 0 and 1)
        color=colored,
        # Without colour, different characters distinguish the curves.
        character_set="braille" if colored else "ascii",
        width=width,
        height=_HEIGHT,
    )
    lines = text.splitlines()
    top = next(number for number, line in enumerate(lines) if line.startswith("┌")) + 1
    for row in (0, _HEIGHT // 2, _HEIGHT - 1):
        value = high - (high - low) * row / (_HEIGHT - 1)
        lines[top + row] = f"{lines[top + row].rstrip()} {value:.3g}"
    text = "\n".join(line.rstrip() for line in lines)
    if not (sys.stdout.encoding or "ascii").lower().startswith("utf"):
        text = text.translate(str.maketrans("┌┐└┘─│", "++++-|")).encode("ascii", "replace").decode()
    return text


def schedule_chart(points: Points) -> alt.VConcatChart:
    """Learning rate over momentum over samples, a line a schedule.

    Parameters
    ----------
    points
        ``schedule`` (a label that begins with the name of the schedule), ``samples``, ``lr`` and
        ``momentum`` (None if it is not set).
    """
    import altair as alt

    order = list(dict.fromkeys(point["schedule"] for point in points))
    keys = styles((label, label.split()[0] if label else "", None) for label in order)
    legend = alt.Legend(
        orient="bottom", columns=1, title=None, symbolType="stroke", symbolSize=700, labelLimit=0
    )
    base = alt.Chart(alt.Data(values=list(points))).encode(  # type: ignore[no-untyped-call]
        x=alt.X("samples:Q", title="training samples", axis=alt.Axis(format="~s")),
        color=alt.Color(
            "schedule:N",
            scale=alt.Scale(domain=order, range=[keys[each].color for each in order]),
            legend=legend,
        ),
        strokeDash=alt.StrokeDash(
            "schedule:N",
            scale=alt.Scale(domain=order, range=[list(keys[each].dash) for each in order]),
            legend=legend,
        ),
    )
    rate = base.mark_line().encode(y=alt.Y("lr:Q", title="learning rate"))
    charts = [rate.properties(width=560, height=240)]
    if any(point["momentum"] is not None for point in points):
        momentum = (
            base.transform_filter("isValid(datum.momentum)")
            .mark_line()
            .encode(y=alt.Y("momentum:Q", title="momentum", scale=alt.Scale(zero=False)))
        )
        charts.append(momentum.properties(width=560, height=120))
    return alt.vconcat(*charts)
