"""The forest plot: each arm's ratio to the baseline, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from bsscale.report.charts.figure import Figure, inline, styles_of
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.drawing import Size
from bsscale.report.palette import INK, MUTED, Styles
from bsscale.report.ratio_words import ratio_title, ratio_words
from bsscale.report.tables import Table
from bsscale.stats import RatioEstimate

__all__ = ["forest_figure"]

ROW = 26


def forest_figure(comparison: Comparison) -> Figure | None:
    """The ratio of each arm, those with the fewest samples first and controls last."""
    arms = [arm for arm in comparison.arms if _estimate(arm) is not None]
    if not arms or len({arm.baseline for arm in arms}) > 1:
        return None
    arms.sort(key=lambda arm: (arm.role == "control", _place(arm)))
    found = styles_of(comparison.arms)
    baseline = next(arm.short for arm in comparison.arms if arm.arm == arms[0].baseline)
    rows = [[arm.short, ratio_words(arm), f"{arm.counts['reached']}/{arm.trained}"] for arm in arms]
    said = "; ".join(f"{name} {ratio}, {hit} reached" for name, ratio, hit in rows)
    return Figure(
        "forest",
        f"Samples to the target, over those of {baseline}",
        "A mark is the ratio of medians and the bar its interval; left of the dashed line, an arm "
        "needs fewer samples than the baseline. Controls are grey.",
        f"Samples to the target over those of {baseline}: {said}.",
        partial(_draw, arms, {arm.short: found[arm.short] for arm in arms}, baseline),
        Table("Ratios", ("arm", ratio_title(comparison), "reached"), rows),
        on_page=False,
    )


def _estimate(arm: ArmSummary) -> RatioEstimate | None:
    return None if arm.is_baseline else arm.judged or arm.ratio


def _place(arm: ArmSummary) -> float:
    estimate = _estimate(arm)
    known = estimate is not None and not math.isnan(estimate.ratio)
    return estimate.ratio if estimate is not None and known else math.inf


def _draw(arms: Sequence[ArmSummary], keys: Styles, baseline: str, size: Size) -> Any:
    import altair as alt

    estimates = {arm.short: e for arm in arms if (e := _estimate(arm)) is not None}
    ends = [v for e in estimates.values() for v in (e.ratio, e.low, e.high) if 0 < v < math.inf]
    low, high = 0.93 * min([*ends, 1.0]), 1.07 * max([*ends, 1.0])
    width = size.plot - 280
    x = alt.X(
        "ratio:Q",
        title=f"samples to the target, x {baseline} (fewer is better)",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(values=[v for v in _TICKS if low < v < high], format="~g", grid=False),
    )
    layers: list[Any] = [
        alt.Chart(inline([{"ratio": 1}])).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(x=x)
    ]
    for number, arm in enumerate(arms):
        estimate, style = estimates[arm.short], keys[arm.short]
        y = alt.value(ROW * (number + 0.5))
        if estimate.confidence is not None:
            span = {"ratio": max(estimate.low, low), "high": min(estimate.high, high)}
            bar = alt.Chart(inline([span])).mark_rule(color=style.color, strokeWidth=3)
            layers.append(bar.encode(x=x, x2="high:Q", y=y))
        at = min(max(estimate.ratio, low), high) if not math.isnan(estimate.ratio) else high
        mark = alt.Chart(inline([{"ratio": at}])).mark_point(
            shape=style.mark, color=style.color, filled=True, opacity=1, size=90
        )
        layers.append(mark.encode(x=x, y=y))
        control = " (control)" if arm.role == "control" else ""
        color = MUTED if control else INK
        words = (
            (f"{arm.short}{control}", -10, "right"),
            (ratio_words(arm), width + 12, "left"),
            (f"{arm.counts['reached']}/{arm.trained}", width + 150, "left"),
        )
        layers += [_word(text, left, y, align, color) for text, left, align in words]
    layers += [
        _word("ratio (95%)", width + 12, alt.value(-8), "left", MUTED),
        _word("reached", width + 150, alt.value(-8), "left", MUTED),
    ]
    return alt.layer(*layers).properties(width=width, height=ROW * len(arms))


_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 7, 10, 20, 50, 100)


def _word(text: str, x: float, y: Any, align: Any, color: str) -> Any:
    import altair as alt

    mark = alt.Chart(inline([{"text": text}])).mark_text(
        align=align, baseline="middle", color=color
    )
    return mark.encode(x=alt.value(x), y=y, text="text:N")
