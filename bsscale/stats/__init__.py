"""Statistics of several runs of one arm, some of which did not reach the target.

A run that did not reach it is censored: its samples-to-target is `math.inf`, larger than any other.
It is never left out, because leaving out the slow runs makes an arm look fast.
"""

from __future__ import annotations

from bsscale.stats.family import FAMILY_RULE, Family, compare_family
from bsscale.stats.looks import LOOKS_RULE, Look, Looks, look_at
from bsscale.stats.medians import Spread, censored_median, ratio, spread
from bsscale.stats.planning import required_seeds, seeds_for_equivalence, smallest_margin
from bsscale.stats.rates import DIVERGES_ABOVE, Rate, rate
from bsscale.stats.ratios import FEWEST_SEEDS, RatioEstimate, paired_ratio
from bsscale.stats.survival import KaplanMeier, kaplan_meier
from bsscale.stats.verdicts import rounded_range, verdict
from bsscale.stats.winner import Winner, fastest

__all__ = [
    "DIVERGES_ABOVE",
    "FAMILY_RULE",
    "FEWEST_SEEDS",
    "LOOKS_RULE",
    "Family",
    "KaplanMeier",
    "Look",
    "Looks",
    "Rate",
    "RatioEstimate",
    "Spread",
    "Winner",
    "censored_median",
    "compare_family",
    "fastest",
    "kaplan_meier",
    "look_at",
    "paired_ratio",
    "rate",
    "ratio",
    "required_seeds",
    "rounded_range",
    "seeds_for_equivalence",
    "smallest_margin",
    "spread",
    "verdict",
]
