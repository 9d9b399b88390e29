"""Figures: one Altair specification gives PNG and SVG without a browser; uniplot the terminal's."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt

    from bsscale.lr_range import Curve, Suggestion

__all__ = ["draw_lines", "range_test_chart", "save", "schedule_chart"]

# Okabe and Ito's palette: told apart in every common form of colour blindness.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
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
    text: str = plot_to_string(
        xs=[list(x) for x, _ in curves.values()],
        ys=[list(y) for _, y in curves.values()],
        legend_labels=list(curves),
        title=title,
        lines=True,
        x_as_log=log_x,
        color=colored,
        # Without colour, curves are told apart by their characters.
        character_set="braille" if colored else "ascii",
        width=max(20, min(shutil.get_terminal_size((80, 24)).columns, 100) - 12),
        height=12,
    )
    if not (sys.stdout.encoding or "ascii").lower().startswith("utf"):
        text = text.translate(str.maketrans("┌┐└┘─│", "++++-|")).encode("ascii", "replace").decode()
    return text


def save(chart: alt.TopLevelMixin, stem: Path) -> list[Path]:
    """Write a chart as PNG and SVG.

    Parameters
    ----------
    chart
        Any Altair chart.
    stem
        The path without its ending.
    """
    paths = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    chart.save(str(paths[0]), scale_factor=2)
    chart.save(str(paths[1]))
    return paths


def schedule_chart(points: Points) -> alt.VConcatChart:
    """Learning rate over momentum over samples, a colour a schedule.

    Parameters
    ----------
    points
        ``schedule``, ``samples``, ``lr`` and ``momentum`` (None where it is left alone).
    """
    import altair as alt

    order = list(dict.fromkeys(point["schedule"] for point in points))
    color = alt.Color(
        "schedule:N", sort=order, title=None, scale=alt.Scale(domain=order, range=_colors(order))
    )
    base = alt.Chart(_data(points)).encode(
        x=alt.X("samples:Q", title="samples", axis=alt.Axis(format="~s")), color=color
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


def range_test_chart(curves: Mapping[int, Curve], suggestion: Suggestion) -> alt.VConcatChart:
    """Loss and AUC over the learning rate (log), a line a seed, the suggestion marked.

    Parameters
    ----------
    curves
        For each seed, its evaluations.
    suggestion
        What follows from them.
    """
    import altair as alt
    import numpy as np

    rows = [
        {"seed": str(seed), "lr": lr, "loss": loss, "auc": auc}
        for seed, curve in curves.items()
        for lr, loss, auc in zip(
            curve.lr.tolist(), curve.loss.tolist(), curve.auc.tolist(), strict=True
        )
    ]
    for row in rows:
        row.update({key: None for key in ("loss", "auc") if not np.isfinite(row[key])})
    # A diverging loss would flatten all that came before it, and one of 1e30 is not drawn at all.
    finite = [row["loss"] for row in rows if row["loss"] is not None]
    highest = min(3 * min(finite, default=1.0), max(finite, default=1.0))
    for row in rows:
        if row["loss"] is not None:
            row["loss"] = min(row["loss"], 2 * highest)
    marks = [
        {"lr": suggestion.cycle_min_lr, "mark": "cycle_min_lr"},
        {"lr": suggestion.cycle_max_lr, "mark": "cycle_max_lr"},
        {"lr": suggestion.spread["edge"][0], "mark": "lowest edge"},
    ]
    seeds = [str(seed) for seed in curves]
    x = alt.X(
        "lr:Q", title="learning rate", scale=alt.Scale(type="log"), axis=alt.Axis(format="~g")
    )
    base = alt.Chart(_data(rows)).encode(
        x=x,
        color=alt.Color(
            "seed:N", scale=alt.Scale(domain=seeds, range=_colors(seeds)), title="seed"
        ),
    )
    rules = (
        alt.Chart(_data(marks))
        .mark_rule(color="#444")
        .encode(
            x="lr:Q",
            strokeDash=alt.StrokeDash(
                "mark:N", title=None, sort=[str(mark["mark"]) for mark in marks]
            ),
        )
    )
    loss = base.mark_line(clip=True).encode(
        y=alt.Y(
            "loss:Q",
            title="validation loss",
            scale=alt.Scale(zero=False, domainMax=highest),
        )
    )
    auc = base.mark_line(clip=True).encode(
        y=alt.Y("auc:Q", title="validation AUC", scale=alt.Scale(zero=False))
    )
    layers = [alt.layer(chart, rules).properties(width=560, height=220) for chart in (loss, auc)]
    return alt.vconcat(*layers)


def _data(rows: Points) -> alt.Data:
    import altair as alt

    return alt.Data(values=list(rows))  # type: ignore[no-untyped-call]


def _colors(names: Sequence[str]) -> list[str]:
    return [PALETTE[index % len(PALETTE)] for index in range(len(names))]
