"""Seeds that are added in registered looks: the levels of the looks, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bsscale.stats.family import Family, compare_family
from bsscale.stats.ratios import RatioEstimate, checked_confidence

__all__ = ["LOOKS_RULE", "Look", "Looks", "look_at"]

LOOKS_RULE = (
    "stop at the first look at which every arm is told apart from the baseline, or as fast; alpha "
    "is spent by Pocock's function of Lan and DeMets"
)
_NODES = 201  # of the integral over what has not stopped; the levels are exact to 6 digits


@dataclass(frozen=True)
class Looks:
    r"""The numbers of seeds at which a study may stop, registered before its first run.

    Attributes
    ----------
    seeds
        Numbers of seeds, rising; the last is the most that the study may have.
    confidence
        With which no look calls equal arms different, all looks together.

    Notes
    -----
    After a share t of the seeds, the chance of a wrong difference may be
    :math:`\alpha \ln(1 + (e - 1) t)` (Lan and DeMets; close to Pocock's equal levels). The function
    of O'Brien and Fleming spends so little at the beginning that the medians of 10 seeds could not
    use it. The level of a look is that of a normal statistic with independent increments from look
    to look, computed by recursive integration (Armitage, McPherson and Rowe).

    References
    ----------
    K. K. G. Lan, D. L. DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70,
    1983. P. Armitage, C. K. McPherson, B. C. Rowe, "Repeated significance tests on accumulating
    data", 1969.
    """

    seeds: tuple[int, ...]
    confidence: float = 0.95

    def __post_init__(self) -> None:
        checked_confidence(self.confidence)
        rising = all(a < b for a, b in zip(self.seeds, self.seeds[1:], strict=False))
        if not self.seeds or self.seeds[0] < 1 or not rising:
            raise ValueError(f"looks at {self.seeds} seeds; give rising numbers from 1 on")

    @classmethod
    def up_to(cls, last: int, *, first: int = 10, step: int = 5, confidence: float = 0.95) -> Looks:
        """Looks at 10, 15, 20, … seeds up to `last`, which is a look in any case."""
        return cls((*range(first, last, step), last), confidence)

    @cached_property
    def spent(self) -> tuple[float, ...]:
        """Chance of a wrong difference, up to and including each look."""
        alpha, last = 1 - self.confidence, self.seeds[-1]
        return tuple(alpha * math.log1p((math.e - 1) * n / last) for n in self.seeds)

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """Two-sided level of each look: intervals there have a confidence of 1 less this."""
        return _levels(tuple(n / self.seeds[-1] for n in self.seeds), self.spent)

    def confidence_at(self, seeds: int) -> float:
        """Confidence of the intervals at a look.

        Raises
        ------
        ValueError
            If there is no look at so many seeds.
        """
        return 1 - self.levels[self._place(seeds)]

    def after(self, seeds: int) -> int | None:
        """Seeds of the next look; None after the last."""
        place = self._place(seeds) + 1
        return self.seeds[place] if place < len(self.seeds) else None

    def _place(self, seeds: int) -> int:
        if seeds not in self.seeds:
            raise ValueError(f"there is no look at {seeds} seeds; the looks are at {self.seeds}")
        return self.seeds.index(seeds)


@dataclass(frozen=True)
class Look:
    """What a look says.

    Attributes
    ----------
    seeds
        At the look.
    confidence
        Of the intervals at this look.
    family
        These intervals.
    undecided
        Arms that are neither told apart from the baseline nor as fast.
    next_seeds
        How many seeds the study goes on to; None where it stops.
    """

    seeds: int
    confidence: float
    family: Family
    undecided: tuple[str, ...]
    next_seeds: int | None

    @property
    def stop(self) -> bool:
        """Whether no seeds are added."""
        return self.next_seeds is None


def look_at(
    arms: Mapping[str, Mapping[int, float]],
    baseline: Mapping[int, float],
    looks: Looks,
    seeds: int,
    *,
    primary: str | None = None,
    margin: float = 0.1,
) -> Look:
    """Decide at a look whether a study stops.

    It stops where every arm is told apart from the baseline or as fast, and at the last look.
    Differences of an earlier look do not count: the words of a report are those of the look at
    which the study stopped.

    Parameters
    ----------
    arms, baseline
        From seed to samples-to-target, as in `compare_family`; runs of the seeds so far.
    looks, seeds
        The registered looks, and the number of registered seeds at this one. A failed run is
        missing in `arms`, but does not change it.
    primary, margin
        As in `compare_family` and in `verdict`.

    Raises
    ------
    ValueError
        If there is no look at so many seeds, or for what `compare_family` refuses.
    """
    confidence = looks.confidence_at(seeds)
    family = compare_family(arms, baseline, primary=primary, confidence=confidence)
    undecided = tuple(
        arm
        for arm, estimate in family.judged.items()
        if family.each_alone or not decided(estimate, margin)
    )
    return Look(seeds, confidence, family, undecided, looks.after(seeds) if undecided else None)


def decided(estimate: RatioEstimate, margin: float = 0.1) -> bool:
    """Whether an arm is told apart from the baseline, or as fast."""
    return estimate.told_apart or estimate.within(margin)


def _levels(shares: tuple[float, ...], spent: tuple[float, ...]) -> tuple[float, ...]:
    """Two-sided levels at which a normal statistic spends so much at these shares of the data."""
    from scipy import optimize, special

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    levels: list[float] = []
    # The sum of the increments has variance t at share t; `density` is that of sums which have not
    # left an earlier bound, at the points `at`, with the integral's weights in it.
    at, density, before = np.zeros(1), np.ones(1), (0.0, 0.0)
    for share, total in zip(shares, spent, strict=True):
        then, used = before
        sd = math.sqrt(share - then)

        def beyond(z: float) -> float:
            bound = z * math.sqrt(share)  # noqa: B023
            out = special.ndtr((at - bound) / sd) + special.ndtr((-bound - at) / sd)  # noqa: B023
            return float(out @ density) - (total - used)  # noqa: B023

        z = float(optimize.brentq(beyond, 0.0, 40.0, xtol=1e-10))
        levels.append(2 * float(special.ndtr(-z)))
        bound = z * math.sqrt(share)
        points = bound * nodes
        steps = np.exp(-(((points[:, None] - at) / sd) ** 2) / 2) / (sd * math.sqrt(2 * math.pi))
        at, density, before = points, bound * weights * (steps @ density), (share, total)
    return tuple(levels)
