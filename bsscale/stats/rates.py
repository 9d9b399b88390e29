"""How often something happens: a rate of runs, and an interval for it."""

from __future__ import annotations

from dataclasses import dataclass

from bsscale.stats.ratios import checked_confidence

__all__ = ["DIVERGES_ABOVE", "Rate", "rate"]

DIVERGES_ABOVE = 0.3
"""An arm diverges where the interval of its rate lies above this share of its runs."""


@dataclass(frozen=True)
class Rate:
    """A share of runs.

    Attributes
    ----------
    count, n
        Runs to which it happened, and all runs.
    low, high
        The interval of the true share.
    confidence
        Of the interval.
    """

    count: int
    n: int
    low: float
    high: float
    confidence: float

    @property
    def diverges(self) -> bool:
        """Whether more than `DIVERGES_ABOVE` of such runs diverge, as far as the interval knows."""
        return self.low > DIVERGES_ABOVE


def rate(count: int, n: int, confidence: float = 0.95) -> Rate:
    """The share of runs to which something happened, with Clopper and Pearson's exact interval.

    Parameters
    ----------
    count, n
        Runs to which it happened, of all runs; n >= 1.
    confidence
        Of the interval, within (0, 1).

    Raises
    ------
    ValueError
        If there are no runs, `count` is not from 0 to n, or `confidence` is not within (0, 1).

    References
    ----------
    C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case
    of the binomial", Biometrika 26, 1934.
    """
    from scipy import special

    checked_confidence(confidence)
    if not 0 <= count <= n or n < 1:
        raise ValueError(f"{count} of {n} runs; give from 0 to all of at least 1 run")
    tail = (1 - confidence) / 2
    low = float(special.betaincinv(count, n - count + 1, tail)) if count else 0.0
    high = float(special.betaincinv(count + 1, n - count, 1 - tail)) if count < n else 1.0
    return Rate(count, n, low, high, confidence)
