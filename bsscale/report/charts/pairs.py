"""The fastest arm and the runner-up, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from bsscale.report.answer import Answer
from bsscale.report.charts.figure import Figure, count_axis, digits, inline, named, styles_of
from bsscale.report.charts.samples import goal
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.drawing import Size
from bsscale.report.palette import Styles
from bsscale.report.tables import Table, samples

__all__ = ["pairs_figure"]

HEIGHT = 240
Pair = tuple[int, float, float]


def pairs_figure(comparison: Comparison, answer: Answer) -> Figure | None:
    """A line a seed, from the fastest arm to the runner-up; None where there are no two."""
    arms = {arm.short: arm for arm in comparison.arms}
    if answer.best not in arms or answer.second not in arms:
        return None
    one, other = arms[str(answer.best)], arms[str(answer.second)]
    a, b = ({r.seed: r.samples for r in arm.seeds} for arm in (one, other))
    pairs: list[Pair] = [(seed, a[seed], b[seed]) for seed in sorted(a.keys() & b.keys())]
    if not any(math.isfinite(each) for _, *both in pairs for each in both):
        return None
    found = styles_of(comparison.arms)
    won = sum(x < y for _, x, y in pairs)
    says = f"{one.short} needs fewer samples than {other.short} with {won} of {len(pairs)} seeds."
    rows = [[str(seed), samples(x), samples(y)] for seed, x, y in pairs]
    return Figure(
        "pairs",
        f"{one.short} against {other.short}, seed by seed",
        f"{says} A line is a seed, in the colour of the arm that needs fewer samples. A line that "
        "ends at the upper edge belongs to a run that did not reach the target.",
        says,
        partial(_draw, one, other, pairs, {n: found[n] for n in (one.short, other.short)}),
        Table("Seed by seed", ("seed", one.short, other.short), rows),
    )


def _draw(
    one: ArmSummary, other: ArmSummary, pairs: Sequence[Pair], keys: Styles, size: Size
) -> Any:
    import altair as alt

    known = [each for _, *both in pairs for each in both if math.isfinite(each)]
    edge = 1.08 * max(known)
    low = 0.95 * min(known)
    width = min(size.plot, 320) if size.wide else 180
    scale = alt.Scale(domain=[low, 1.02 * edge], nice=False, zero=False)
    y = alt.Y(
        "samples:Q",
        title=[f"samples to {goal([one, other])}", "(fewer is better)"],
        scale=scale,
        axis=count_axis(),
    )
    layers: list[Any] = []
    for seed, a, b in pairs:
        a, b = (digits(each) if math.isfinite(each) else edge for each in (a, b))
        style = keys[one.short if a < b else other.short]
        said = f"seed {seed}"
        base = alt.Chart(inline([{"samples": a, "other": b, "said": said}]))
        layers.append(
            base.mark_rule(color=style.color, strokeWidth=1.5).encode(
                x=alt.value(0), x2=alt.value(width), y=y, y2="other:Q", description="said:N"
            )
        )
        for name, value, x in ((one.short, a, 0), (other.short, b, width)):
            mark = alt.Chart(inline([{"samples": value}])).mark_point(
                shape=keys[name].mark, color=keys[name].color, filled=True, size=55, opacity=1
            )
            layers.append(mark.encode(x=alt.value(x), y=y))
    layers += named(one.short, 10, -14, keys[one.short])
    layers += named(other.short, width if size.wide else width - 60, -14, keys[other.short])
    return alt.layer(*layers).properties(width=width, height=HEIGHT)
