"""Curves over samples: the metric, the learning rate and the momentum of each arm."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bsscale.objectives import Criterion
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

__all__ = ["convergence_figures", "learning_rate_figure", "momentum_figure"]


def convergence_figures(comparison: Comparison) -> list[Figure]:
    """For each metric that arms are judged by, each arm's median over samples and its band."""
    criteria = comparison.criteria
    shown = [
        (criterion, [arm for arm in comparison.arms if arm.curve and arm.criterion == criterion])
        for criterion in criteria
    ]
    return [_convergence(criterion, arms, len(criteria) > 1) for criterion, arms in shown if arms]


def _convergence(criterion: Criterion, arms: Sequence[ArmSummary], mixed: bool) -> Figure:
    import altair as alt

    metric = criterion.title
    names = [arm.short for arm in arms]
    rows = [
        {
            "arm": arm.short,
            "samples": p.samples,
            "value": digits(p.median),
            "low": digits(p.low),
            "high": digits(p.high),
        }
        for arm in arms
        for p in shown_points(arm.curve, len(arms))
    ]
    targets = sorted({arm.target for arm in arms if arm.target is not None})
    longest = max(arm.curve[-1].samples for arm in arms)
    cut = _cut(arms, targets, longest, criterion.sign)
    end = {"domainMin": cut} if criterion.direction == "max" else {"domainMax": cut}
    scale = alt.Scale(zero=False, nice=False, **end)  # type: ignore[arg-type]
    # (The data are those of the whole figure: in each layer, they would be there twice.)
    base = alt.Chart().encode(x=sample_axis(scale=alt.Scale(nice=False)))
    chosen, faint = chosen_arm()
    band = base.mark_area(opacity=0.15, clip=True).encode(
        y=alt.Y("low:Q", title=f"validation {metric}", scale=scale),
        y2="high:Q",
        color=arm_encodings(names)["color"],
    )
    line = (
        base.mark_line(strokeWidth=2, clip=True)
        .encode(
            y=alt.Y("value:Q", title=f"validation {metric}", scale=scale),
            opacity=faint,
            tooltip=[
                "arm:N",
                alt.Tooltip("samples:Q", format=",.0f"),
                alt.Tooltip("value:Q", title=f"median {metric}", format=".4~g"),
                alt.Tooltip("low:Q", format=".4~g"),
                alt.Tooltip("high:Q", format=".4~g"),
            ],
            **arm_encodings(names),
        )
        .add_params(chosen)
    )
    marks = [{"value": each, "label": f"target {each:.4g}"} for each in targets]
    rule = alt.Chart(inline(marks)).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="value:Q")
    label = (
        alt.Chart(inline(marks))
        .mark_text(align="left", baseline="bottom", dx=4, dy=-2, color=GREY)
        .encode(x=alt.value(0), y="value:Q", text="label:N")
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
    title = f"Model convergence: {metric}" if mixed else "Model convergence"
    return Figure(
        f"convergence_{criterion.name}" if mixed else "convergence",
        title,
        f"Validation {metric} over samples: the median over seeds, and {band_text}. A run that has "
        f"stopped keeps its last {metric}. The steep beginning is cut off.",
        f"Validation {metric} over samples by arm. {ends}.",
        chart,
        Table(title, ("arm", "samples", f"median {metric}", "low", "high"), table),
        tuple(names),
    )


def _cut(arms: Sequence[ArmSummary], targets: Sequence[float], longest: int, sign: int) -> float:
    """The limit of the axis on its bad side, so that the first evaluations do not flatten the rest.

    It shows every arm from a twentieth of the samples on, but no more than half of the way from
    the untrained models to the best value: an arm that fails does not flatten the others.
    """

    def worst(point: CurvePoint) -> float:  # (signed: higher is better)
        return min(sign * point.low, sign * point.high)

    def early(curve: Sequence[CurvePoint]) -> float:
        return worst(next((p for p in curve if p.samples >= longest / 20), curve[-1]))

    best = max(max(sign * p.low, sign * p.high) for arm in arms for p in arm.curve)
    untrained = statistics.median(sign * arm.curve[0].median for arm in arms)
    lowest = min([*(early(arm.curve) for arm in arms), *(sign * target for target in targets)])
    cut = max(lowest, (untrained + best) / 2)
    # (A curve that only gets worse is not cut.)
    cut = cut if cut < best else lowest
    return sign * digits(cut - 0.03 * (best - cut or abs(best)))


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
    """The momentum of each arm over samples; None where no arm's momentum moves."""
    moves = any(
        len({point.momentum for point in run.evals if point.samples > 0}) > 1
        for arm in comparison.arms
        for run in arm.runs
    )
    if not moves:
        return None
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
        # Draw the longest run, because schedules do not depend on the seed.
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
