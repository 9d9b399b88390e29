"""Statistics of several runs of one arm, some of which did not reach the target.

A run that did not reach it is censored: its samples-to-target is `math.inf`, larger than any other.
It is never left out, because leaving out the slow runs makes an arm look fast.
"""

from __future__ import annotations

from bsscale.stats.medians import Spread, censored_median, ratio, spread
from bsscale.stats.planning import required_seeds
from bsscale.stats.ratios import FEWEST_SEEDS, RatioEstimate, paired_ratio
from bsscale.stats.survival import KaplanMeier, kaplan_meier
from bsscale.stats.verdicts import verdict

__all__ = [
    "FEWEST_SEEDS",
    "KaplanMeier",
    "RatioEstimate",
    "Spread",
    "censored_median",
    "kaplan_meier",
    "paired_ratio",
    "ratio",
    "required_seeds",
    "spread",
    "verdict",
]
