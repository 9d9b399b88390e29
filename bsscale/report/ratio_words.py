"""One wording for ratios: the page, its tables, the terminal and the pictures use it."""

from __future__ import annotations

import math

from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.stats import RatioEstimate, rounded_range

__all__ = ["estimate_words", "interval", "ratio_title", "ratio_words", "times"]

# Longest name of a baseline in the title of a column, in characters.
LONGEST_NAME = 16
# Intervals that say nothing.
_NOTHING = ("-", "any", "no end")


def ratio_title(comparison: Comparison) -> str:
    """The column title of the ratios: what they are over, and the confidence of the intervals."""
    names = {arm.short for arm in comparison.arms if arm.is_baseline}
    name = names.pop() if len(names) == 1 else ""
    sure = {e.confidence for arm in comparison.arms if (e := arm.judged or arm.ratio)} - {None}
    percent = f" ({100 * (sure.pop() or 0):.3g}%)" if len(sure) == 1 else ""
    return f"samples, x {name if 0 < len(name) <= LONGEST_NAME else 'baseline'}{percent}"


def ratio_words(arm: ArmSummary) -> str:
    """The samples of an arm, x those of its baseline, and the interval: "1.19x (1.06 to 1.29)"."""
    if arm.is_baseline:
        return "1x"
    return "-" if arm.ratio is None else estimate_words(arm.judged or arm.ratio)


def estimate_words(estimate: RatioEstimate) -> str:
    """A ratio with its interval."""
    if math.isnan(estimate.ratio):
        return "-"
    sure = interval(estimate)
    if estimate.ratio == 0:
        return f"{sure}x" if estimate.high > 0 and sure not in _NOTHING else "baseline missed"
    return times(estimate.ratio) + ("" if sure in _NOTHING else f" ({sure})")


def interval(estimate: RatioEstimate | None) -> str:
    """The interval of a ratio, or a dash where there is none."""
    if estimate is None or estimate.confidence is None:
        return "-"
    return rounded_range(estimate.low, estimate.high)


def times(value: float) -> str:
    """A ratio; a dash where there is none; that the arm missed the target where it is infinite."""
    if math.isnan(value):
        return "-"
    return f"{value:.2f}x" if math.isfinite(value) else "missed"
