"""Curves over samples: the metric, the learning rate and the momentum of each arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bsscale.report.charts.figure import (
    Figure,
    arm_encodings,
    chosen_arm,
    digits,
    sample_axis,
    shown_points,
    shown_rows,
)
from bsscale.report.comparison import ArmSummary, Comparison, CurvePoint
from bsscale.report.figures import GREY, inline
from bsscale.report.summarize import QUARTILES_FROM
from bsscale.report.tables import (
    Table,
    number,
)

if TYPE_CHECKING:
    pass

__all__ = ["convergence_figure", "learning_rate_figure", "momentum_figure"]


def convergence_figure(comparison: Comparison) -> Figure | None:
    """The metric over samples: each arm's median and its band."""
    import altair as alt

    arms = [arm for arm in comparison.arms if arm.curve]
    if not arms:
        return None
    names = [arm.short for arm in arms]
    rows = [
        {
            "arm": arm.short,
            "samples": p.samples,
            "auc": digits(p.median),
            "low": digits(p.low),
            "high": digits(p.high),
        }
        for arm in arms
        for p in shown_points(arm.curve, len(arms))
    ]
    targets = sorted({arm.target for arm in arms if arm.target is not None})
    longest = max(arm.curve[-1].samples for arm in arms)
    floor = _floor(arms, targets, longest)
    scale = alt.Scale(domainMin=floor, zero=False, nice=False)
    # (The data are those of the whole figure: in each layer, they would be there twice.)
    base = alt.Chart().encode(x=sample_axis(scale=alt.Scale(nice=False)))
    chosen, faint = chosen_arm()
    band = base.mark_area(opacity=0.15, clip=True).encode(
        y=alt.Y("low:Q", title="validation AUC", scale=scale),
        y2="high:Q",
        color=arm_encodings(names)["color"],
    )
    line = (
        base.mark_line(strokeWidth=2, clip=True)
        .encode(
            y=alt.Y("auc:Q", title="validation AUC", scale=scale),
            opacity=faint,
            tooltip=[
                "arm:N",
                alt.Tooltip("samples:Q", format=",.0f"),
                alt.Tooltip("auc:Q", title="median AUC", format=".4f"),
                alt.Tooltip("low:Q", format=".4f"),
                alt.Tooltip("high:Q", format=".4f"),
            ],
            **arm_encodings(names),
        )
        .add_params(chosen)
    )
    marks = [{"auc": each, "label": f"target {each:.4g}"} for each in targets]
    rule = alt.Chart(inline(marks)).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="auc:Q")
    label = (
        alt.Chart(inline(marks))
        .mark_text(align="left", baseline="bottom", dx=4, dy=-2, color=GREY)
        .encode(x=alt.value(0), y="auc:Q", text="label:N")
    )
    chart = alt.layer(band, rule, label, line, data=inline(rows)).properties(height=300)
    ends = "; ".join(f"{arm.short} ends at {number(arm.curve[-1].median)}" for arm in arms)
    all_seeds = max(len(arm.runs) for arm in arms)
    band_text = (
        f"the middle half of the seeds (all of them, with fewer than {QUARTILES_FROM})"
        if all_seeds >= QUARTILES_FROM
        else "from the lowest to the highest seed"
    )
    table = [
        [arm.short, f"{p.samples:,}", number(p.median), number(p.low), number(p.high)]
        for arm in arms
        for p in shown_rows(arm.curve, len(arms))
    ]
    return Figure(
        "convergence",
        "Model convergence",
        f"Validation AUC over samples: the median over seeds, and {band_text}. A run that has "
        "stopped keeps its last AUC. The steep beginning is cut off.",
        f"Validation AUC over samples by arm. {ends}.",
        chart,
        Table("Model convergence", ("arm", "samples", "median AUC", "low", "high"), table),
        tuple(names),
    )


def _floor(arms: Sequence[ArmSummary], targets: Sequence[float], longest: int) -> float:
    """Where the AUC axis begins, so that the steep first evaluations do not flatten the rest."""

    def at(curve: Sequence[CurvePoint], place: float) -> float:
        return next((p.low for p in curve if p.samples >= place), curve[-1].low)

    lows = [at(arm.curve, longest / 20) for arm in arms]
    highest = max(p.high for arm in arms for p in arm.curve)
    floor = max(min([*lows, *targets]), highest - 0.12)
    return round(floor - 0.02 * (highest - floor) - 5e-4, 4)


def learning_rate_figure(comparison: Comparison) -> Figure | None:
    """The learning rate of each arm over samples."""
    return _schedule(
        comparison,
        "learning_rate",
        "Learning rate",
        "Learning rate over samples (logarithmic), as recorded at each evaluation.",
        lambda point: point.lr,
    )


def momentum_figure(comparison: Comparison) -> Figure | None:
    """The momentum of each arm over samples; None where no schedule moves it."""
    return _schedule(
        comparison,
        "momentum",
        "Momentum",
        "Momentum (SGD) or beta1 (Adam) over samples (logarithmic), as recorded at each "
        "evaluation.",
        lambda point: point.momentum,
    )


def _schedule(
    comparison: Comparison,
    name: str,
    title: str,
    caption: str,
    value_of: Callable[[Any], float | None],
) -> Figure | None:
    import altair as alt

    rows: list[dict[str, Any]] = []
    names = []
    for arm in comparison.arms:
        # A schedule does not depend on the seed: the run that went on longest shows most of it.
        longest = max((run.evals for run in arm.runs), key=lambda evals: (
            evals[-1].samples if evals else -1
        ))  # fmt: skip
        points = [
            (p.samples, value) for p in longest
            if (value := value_of(p)) is not None and p.samples > 0
        ]  # fmt: skip
        if points:
            names.append(arm.short)
            points = shown_points(points, len(comparison.arms))
            rows += [{"arm": arm.short, "samples": x, "value": digits(y)} for x, y in points]
    if not rows:
        return None
    values = [row["value"] for row in rows]
    # A rate that falls by orders of magnitude is only readable on a logarithmic axis.
    wide = name == "learning_rate" and min(values) > 0 and max(values) > 30 * min(values)
    scale = alt.Scale(type="log") if wide else alt.Scale(zero=name == "learning_rate")
    chosen, faint = chosen_arm()
    chart = (
        alt.Chart(inline(rows))
        .mark_line(strokeWidth=2)
        .encode(
            opacity=faint,
            x=sample_axis(scale=alt.Scale(type="log", nice=False)),
            y=alt.Y("value:Q", title=title.lower(), scale=scale, axis=alt.Axis(format="~g")),
            tooltip=[
                "arm:N",
                alt.Tooltip("samples:Q", format=",.0f"),
                alt.Tooltip("value:Q", title=title.lower(), format=".4~g"),
            ],
            **arm_encodings(names),
        )
        .add_params(chosen)
        .properties(height=240)
    )
    said = []
    for each in names:
        own = [row["value"] for row in rows if row["arm"] == each]
        low, high = min(own), max(own)
        said.append(f"{each}: {low:.4g}" + ("" if low == high else f" to {high:.4g}"))
    by_arm = {each: [row for row in rows if row["arm"] == each] for each in names}
    table = [
        [each, f"{row['samples']:,}", f"{row['value']:.4g}"]
        for each in names
        for row in shown_rows(by_arm[each], len(names))
    ]
    return Figure(
        name,
        title,
        caption,
        f"{title} over samples by arm. {'; '.join(said)}.",
        chart,
        Table(title, ("arm", "samples", title.lower()), table),
        tuple(names),
    )
