"""What the points of an arm identify: the critical batch, or the reason why it is not known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsscale.critical_batch.exponent import FreeExponent, free_exponent
from bsscale.critical_batch.fit import Fit, fit
from bsscale.critical_batch.points import Point, as_data, with_limits

__all__ = ["Scaling", "scaling"]

FEWEST_BATCHES = 3
# A Bc this far outside the batches moves the samples by a tenth of itself at most: it is a guess.
REACH = 10.0
# The ends of the interval of an identified Bc are at most this far apart.
WIDEST = 30.0
# The most that batches lie beside the curve for reasons other than their seeds, on the log scale.
MOST_MISFIT = 0.2
# The most that a curve with a free exponent lies beside that with 1, likewise.
MOST_BEND = 0.14
# And where it is a mere power of the batch: its Bc is this many times below the smallest one.
POWER, POWER_BEND = 100.0, 0.05


@dataclass(frozen=True)
class Scaling:
    """What the points of one arm say.

    Attributes
    ----------
    points
        In the order of their batches, with the limits of censored ones.
    filled
        Censored points whose limit is that of other points.
    fit
        The fitted curve; None where there are too few points for one.
    exponent
        A check of its form; None where the interval does not identify Bc anyway.
    reason
        Why Bc is not identified, a sentence; None where it is.
    """

    points: tuple[Point, ...]
    filled: int
    fit: Fit | None
    exponent: FreeExponent | None
    reason: str | None

    @property
    def identified(self) -> bool:
        """Whether Bc is known."""
        return self.reason is None


def scaling(
    points: Sequence[Point],
    *,
    shared: dict[float, float] | None = None,
    edges: Sequence[float] = (),
) -> Scaling:
    """Fit the points of an arm, and say whether they identify its critical batch.

    Parameters
    ----------
    points
        Of one arm, in any order.
    shared
        By batch, the variance of the error that the choice of its rate gives all its runs, on the
        log scale; a batch without one has none.
    edges
        Batches whose best rate is at an end of the rates that were tried.
    """
    limited, filled = with_limits(points)
    data = as_data(limited)
    known = int((data.reached > 0).sum())
    made, power = None, None
    if known >= 2:
        made = fit(data, _shared(data.batch, shared or {}))
    reason = _too_few(limited, known)
    if made is not None and reason is None:
        reason = _reason(made, edges)
        if reason is None:
            power = free_exponent(made)
            reason = _other_form(made, power)
    return Scaling(tuple(limited), filled, made, power, reason)


def _shared(batch: NDArray[np.float64], variances: dict[float, float]) -> NDArray[np.float64]:
    return np.array([variances.get(float(each), 0.0) for each in batch])


def _too_few(points: Sequence[Point], known: int) -> str | None:
    batches = len({point.batch for point in points})
    if known == 0:
        budgets = any(point.budget is not None for point in points)
        but = " but that it costs more than their budgets" if budgets else ""
        return f"None of the {len(points)} runs reached the target: nothing is known{but}."
    if known < FEWEST_BATCHES:
        of = "" if known == batches else f" (of {batches}, the others have censored runs only)"
        noun = "batch has" if known == 1 else "batches have"
        return (
            f"Only {known} {noun} runs that reached the target{of}, and a curve needs "
            f"{FEWEST_BATCHES} or more."
        )
    return None


def _reason(made: Fit, edges: Sequence[float]) -> str | None:
    """Why the interval does not identify Bc."""
    smallest, largest = float(made.data.batch[0]), float(made.data.batch[-1])
    low, high = made.interval
    flat, proportional = high > REACH * largest, low < smallest / REACH
    if edges:
        listed = ", ".join(f"{each:,.6g}" for each in edges)
        return (
            f"At batch {listed} the best rate is at an end of the rates that were tried, so that "
            "a better rate, and a lower number of samples, may lie beyond it."
        )
    if made.noise.between > MOST_MISFIT:
        return (
            "The samples do not follow Emin (1 + B / Bc): batches lie "
            f"{made.noise.between:.0%} beside the best curve, far more than their seeds explain."
        )
    if flat and proportional:
        return (
            "The runs are too few or too noisy: samples that do not depend on the batch and "
            "samples in proportion to it are both possible."
        )
    if flat:
        least = f" It is {low:,.4g} at least." if low > 0 else ""
        return (
            "The samples hardly grow with the batch: Bc is out of reach, and may be more than "
            f"{REACH:g} times the largest batch, {largest:,.6g}.{least}"
        )
    if proportional:
        most = f" It is {high:,.4g} at most." if math.isfinite(high) else ""
        return (
            "The samples grow in proportion to the batch: Bc is out of reach, and may be less than "
            f"a {_part(REACH)} of the smallest batch, {smallest:,.6g}.{most}"
        )
    if high > WIDEST * low:
        return (
            f"The runs are too few or too noisy: Bc lies anywhere between {low:,.4g} and "
            f"{high:,.4g}."
        )
    return None


def _other_form(made: Fit, power: FreeExponent) -> str | None:
    """Whether the samples follow another curve."""
    mere_power = power.critical_batch < float(made.data.batch[0]) / POWER
    # (false where the noise is not known)
    if power.bend > max(POWER_BEND if mere_power else MOST_BEND, 2.5 * power.noise):
        what = (
            f"they follow a power of the batch, {power.value:.2f}"
            if mere_power
            else f"an exponent of {power.value:.2f} on B / Bc fits much better"
        )
        return (
            f"The samples do not follow Emin (1 + B / Bc): {what}, so that Bc is another one at "
            "every range of batches."
        )
    return None


def _part(factor: float) -> str:
    return "tenth" if factor == 10 else f"1/{factor:g}"
