"""The first screen of the page: the arms in order, each with its ratio drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bsscale.records.run_record import RunRecord
from bsscale.report.charts.figure import styles_of
from bsscale.report.charts.rates import rate_line
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.imported import source_words
from bsscale.report.order import ranked
from bsscale.report.palette import Style
from bsscale.report.ratio_words import ratio_title, ratio_words
from bsscale.report.read import Sources
from bsscale.report.tables import missed, samples

__all__ = ["Bar", "Row", "plan_in_words", "rows", "samples_title", "setting"]


@dataclass(frozen=True)
class Bar:
    """A ratio with its interval, at places from 0 to 100 on a logarithmic axis.

    Attributes
    ----------
    one, at
        Of a ratio of 1, and of the arm's ratio.
    low, high
        Of the interval; those of the ratio itself where there is none.
    open
        Whether the interval has no upper end.
    """

    one: float
    at: float
    low: float
    high: float
    open: bool


@dataclass(frozen=True)
class Row:
    """An arm on the first screen.

    Attributes
    ----------
    name, style
        Its label, and how it is drawn.
    role, imported
        baseline, control or arm; whether its curves come from elsewhere.
    rate
        Its learning rate, from its start over its peak to its end.
    ratio
        Its samples over those of the baseline, with the interval; its median where there is none.
    reached
        Runs that reached the target, of those that trained.
    bar
        The ratio drawn; None where there is none.
    """

    name: str
    style: Style
    role: str
    rate: str
    ratio: str
    reached: str
    bar: Bar | None
    imported: bool


def setting(comparison: Comparison, found: Sources, plan: str) -> str:
    """What was trained, in a line: data, model, optimizer, GPUs, batch, date, registration."""
    if not comparison.arms:
        return ""
    records = [arm.record for arm in comparison.arms]
    parts = [
        ", ".join(dict.fromkeys(str(getattr(each, name)) for each in records))
        for name in ("dataset", "model", "optimizer")
        if all(getattr(each, name) for each in records)
    ]
    parts += [each for each in (_devices(records), source_words(comparison), _date(found)) if each]
    return " · ".join([*parts, plan])


def _devices(records: Sequence[RunRecord]) -> str:
    """The numbers of GPUs and the batches, as far as they are known."""
    gpus = sorted({each.gpus for each in records} - {0})
    batches = sorted({each.global_batch for each in records} - {0})
    counts = ", ".join(map(str, [n for n in gpus if n > 1] or gpus))
    batch = f"batch {' → '.join(f'{each:,}' for each in batches)}" if batches else ""
    if not gpus:
        return batch
    word = "GPU" if counts == "1" else "GPUs"
    return f"{counts} {word} ({batch})" if batch else f"{counts} {word}"


def plan_in_words(plans: Sequence[tuple[str, Sequence[str], Any]]) -> str:
    """Whether what was registered was done, in a few words."""
    if not plans:
        return "not registered"
    kept = all(said[0].startswith("The registered plan was followed") for _, said, _ in plans)
    return "registered plan followed" if kept else "registered plan changed or not completed"


def _date(found: Sources) -> str:
    """Of the newest record."""
    times = []
    for run in found.runs:
        written = run.directory / "run.json" if run.imported is None else run.directory
        try:
            times.append(written.stat().st_mtime)
        except OSError:
            continue
    return f"{datetime.fromtimestamp(max(times), UTC):%Y-%m-%d}" if times else ""


def rows(comparison: Comparison) -> list[Row]:
    """The arms with the fewest samples first, the controls last."""
    styles = styles_of(comparison.arms)
    arms = ranked(comparison.arms)
    arms = [arm for arm in arms if arm.role != "control"] + [
        arm for arm in arms if arm.role == "control"
    ]
    ends = _ends(arms)
    return [
        Row(
            name=arm.short,
            style=styles[arm.short],
            role=_role(arm),
            rate=_rate(arm),
            ratio=_ratio(arm),
            reached=_reached(arm),
            bar=None if ends is None else _bar(arm, ends),
            imported=arm.imported,
        )
        for arm in arms
    ]


def samples_title(comparison: Comparison) -> str:
    """What is compared: samples over those of the baseline, or medians where there is none."""
    if any(arm.is_baseline for arm in comparison.arms):
        return ratio_title(comparison)
    return "samples (median)"


def _role(arm: ArmSummary) -> str:
    return "baseline" if arm.is_baseline else arm.role or "arm"


def _rate(arm: ArmSummary) -> str:
    values = [value for _, value in rate_line(arm).points]
    if not values:
        return "-"
    shown = [f"{value:.3g}" for value in (values[0], max(values), values[-1])]
    return " → ".join(
        each for number, each in enumerate(shown) if number == 0 or each != shown[number - 1]
    )


def _ratio(arm: ArmSummary) -> str:
    spread = arm.samples_to_target
    if arm.is_baseline or arm.ratio is not None or spread is None:
        return ratio_words(arm)
    return samples(spread.median) if math.isfinite(spread.median) else missed(arm)


def _reached(arm: ArmSummary) -> str:
    text = f"{arm.counts['reached']}/{arm.trained}"
    return f"{text}, {arm.counts['diverged']} diverged" if arm.counts["diverged"] else text


def _ends(arms: Sequence[ArmSummary]) -> tuple[float, float] | None:
    """The ends of the axis of ratios; None where there is no ratio to draw."""
    known = [
        value
        for arm in arms
        if (estimate := arm.judged or arm.ratio) is not None
        for value in (estimate.ratio, estimate.low, estimate.high)
        if 0 < value < math.inf
    ]
    return (min(*known, 0.9), max(*known, 1.1)) if known else None


def _bar(arm: ArmSummary, ends: tuple[float, float]) -> Bar | None:
    def place(ratio: float) -> float:
        low, high = (math.log(each) for each in ends)
        inside = min(max(ratio, ends[0]), ends[1])
        return round(4 + 88 * (math.log(inside) - low) / (high - low), 1)

    if arm.is_baseline:
        return Bar(place(1), place(1), place(1), place(1), open=False)
    estimate = arm.judged or arm.ratio
    if estimate is None or math.isnan(estimate.ratio):
        return None
    low, high = estimate.low, estimate.high
    if estimate.confidence is None:
        low = high = estimate.ratio
    return Bar(place(1), place(estimate.ratio), place(low), place(high), math.isinf(high))
