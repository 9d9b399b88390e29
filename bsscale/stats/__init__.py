"""What can be said of several runs of one arm, some of which did not reach the target.

A run that did not reach it is censored: its samples-to-target is `math.inf`, larger than any other.
It is never left out, because leaving out the slow runs makes an arm look fast.
"""

from __future__ import annotations

from bsscale.stats.medians import Spread, censored_median, ratio, spread

__all__ = [
    "Spread",
    "censored_median",
    "ratio",
    "spread",
]
