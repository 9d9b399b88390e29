"""A search for a learning rate: which rates are tried next, and which of them is the best.

Every decision follows from the results alone. Nothing is random, so a search that is begun again
asks for the same rates.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

__all__ = ["Result", "Rules", "Search", "Trial", "log_grid"]


@dataclass(frozen=True)
class Result:
    """What one run at a rate has reached.

    Attributes
    ----------
    value
        The best value of its metric; infinitely bad if it has none and chance is not known.
    samples
        Samples to the target, infinite for a miss; None where there is no target yet.
    diverged
        Whether it diverged. If it also missed the target, it is worse than any run that did not.
    """

    value: float
    samples: float | None = None
    diverged: bool = False


@dataclass(frozen=True)
class Trial:
    """One rate, over its seeds.

    Attributes
    ----------
    lr
        The rate.
    results
        One a seed, at least one.
    sign
        1 where higher values of the metric are better, −1 where lower ones are.
    """

    lr: float
    results: tuple[Result, ...]
    sign: int = 1

    @property
    def best_value(self) -> float:
        """Median of the best values."""
        return statistics.median(result.value for result in self.results)

    @property
    def samples_to_target(self) -> float | None:
        """Median, misses infinite; None where there is no target yet."""
        samples = [result.samples for result in self.results if result.samples is not None]
        return statistics.median(samples) if len(samples) == len(self.results) else None

    @property
    def diverged(self) -> int:
        """Runs that diverged."""
        return sum(result.diverged for result in self.results)

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is better: fewer samples to the target first, then the better metric."""
        samples = self.samples_to_target
        value = statistics.median(self._key(result)[1] for result in self.results)
        return (0.0 if samples is None else -samples), value

    def not_worse(self, other: Trial) -> bool:
        """Whether the best run at this rate is as good as the worst run at another."""
        return max(map(self._key, self.results)) >= min(map(other._key, other.results))

    def _key(self, result: Result) -> tuple[float, float]:
        """Higher is better, run by run."""
        missed = result.samples is None or math.isinf(result.samples)
        value = -math.inf if missed and result.diverged else self.sign * result.value
        return (0.0 if result.samples is None else -result.samples), value


@dataclass(frozen=True)
class Rules:
    """The numbers of a search.

    Attributes
    ----------
    trials
        Rates of the first grid, both ends of the range included.
    seeds
        Seeds on which each rate is tried.
    finalist_seeds
        Seeds on which the best ones are tried, if that is more.
    finalists
        How many of the best these are.
    gap
        Refined until each neighbour of the best rate lies within this factor.
    extend_by
        A best rate at an end of the range extends it by this factor, in steps of the grid.
    extensions
        How often; after that the result is flagged.
    most_added
        The most rates that are added between others; after that the result is flagged.
    grid_rounds
        The rounds of the first grid: 2 tries every other rate first.
    """

    trials: int
    seeds: int
    finalist_seeds: int
    finalists: int = 3
    gap: float = 1.6
    extend_by: float = 4.0
    extensions: int = 2
    most_added: int = 12
    grid_rounds: int = 1

    def most_runs(self, low: float, high: float) -> int:
        """The most runs that a search in a range can ask for."""
        step = math.log(high / low) / (self.trials - 1)
        rates = self.trials + self.extensions * self._points(step) + self.most_added
        return rates * max(self.seeds, self.finalist_seeds)

    def _points(self, step: float) -> int:
        """Points of an extension, for a grid whose logarithms are `step` apart."""
        return max(1, math.ceil(math.log(self.extend_by) / step - 1e-9))


class Search:
    """Asks for rates in rounds, and ranks them.

    A round is the first grid, in one round or two, or an extension beyond the best rate if that
    lies at an end of the range, or rates in the gaps next to the best one, or more seeds for the
    finalists. The first of these that is due comes next, until none is. The rates of a round do not
    depend on each other, so they can be trained together.

    Parameters
    ----------
    rules
        Its numbers.
    low, high
        The range at its start.

    Attributes
    ----------
    trials
        What was told, by rate.
    extended
        How often the range was extended.
    """

    def __init__(self, rules: Rules, low: float, high: float) -> None:
        self.rules = rules
        self.trials: dict[float, Trial] = {}
        self.extended = 0
        self._low, self._step = low, math.log(high / low) / (rules.trials - 1)
        self._first, self._last = 0, rules.trials - 1
        self._added = 0
        # Seeds that each rate was asked on; one whose runs all failed has no trial.
        self._asked: dict[float, int] = {}

    @classmethod
    def of(cls, trials: Sequence[Trial], finalist_seeds: int) -> Search:
        """A search that goes on from a sweep over rates, at least two."""
        rates = [trial.lr for trial in trials]
        seeds = min(len(trial.results) for trial in trials)
        search = cls(Rules(len(rates), seeds, finalist_seeds), min(rates), max(rates))
        search._asked = {trial.lr: len(trial.results) for trial in trials}
        search.tell(trials)
        return search

    def ask(self, at_least: int = 0) -> dict[float, int]:
        """The next round: each rate, and on how many seeds it is to be tried in all.

        Parameters
        ----------
        at_least
            Rates that are tried in all; what is missing is added next to the best rate.

        Returns
        -------
        In rising order of the rates; empty when nothing is due.
        """
        rules = self.rules
        if not self._asked:
            return self._note(self._grid(range(0, rules.trials, rules.grid_rounds)), rules.seeds)
        if not self.trials:
            return {}
        return (
            self._rest_of_grid()
            or self._extension()
            or self._refinement()
            or self._seeds_of_finalists()
            or self._further(at_least)
        )

    def tell(self, trials: Iterable[Trial]) -> None:
        """Take up results: of the last round, or of earlier ones that are judged anew."""
        self.trials |= {trial.lr: trial for trial in trials}

    @property
    def ordered(self) -> list[Trial]:
        """The trials, in rising order of their rates."""
        return [self.trials[rate] for rate in sorted(self.trials)]

    @property
    def tried(self) -> int:
        """How many rates were tried."""
        return len(self._asked)

    @property
    def best(self) -> Trial:
        """The best trial; of equal ones, that with the lowest rate."""
        return max(self.ordered, key=lambda trial: trial.rank)

    @property
    def edge(self) -> Literal["low", "high"] | None:
        """Low or high if the best rate is the lowest or the highest that was tried."""
        ordered, best = self.ordered, self.best
        if best is ordered[0]:
            return "low"
        return "high" if best is ordered[-1] else None

    @property
    def flat(self) -> list[Trial]:
        """The trials that are not told apart from the best: some run is as good as its worst."""
        best = self.best
        return [trial for trial in self.ordered if trial.not_worse(best)]

    # -- what is due -----------------------------------------------------------------------------

    def _rest_of_grid(self) -> dict[float, int]:
        if self.rules.grid_rounds == 1:
            return {}
        rates = self._grid(range(self.rules.trials))
        return self._note([rate for rate in rates if rate not in self._asked], self.rules.seeds)

    def _extension(self) -> dict[float, int]:
        if self.edge is None or self.extended == self.rules.extensions:
            return {}
        self.extended += 1
        points = self.rules._points(self._step)
        if self.edge == "low":
            self._first -= points
            places = range(self._first, self._first + points)
        else:
            self._last += points
            places = range(self._last - points + 1, self._last + 1)
        return self._note(self._grid(places), self.rules.seeds)

    def _refinement(self) -> dict[float, int]:
        due: list[float] = []
        for low, high in self._gaps():
            due += log_grid(low, high, 2 + _missing(high / low, self.rules.gap))[1:-1]
        return self._add(due)

    def _seeds_of_finalists(self) -> dict[float, int]:
        seeds = self.rules.finalist_seeds
        ranked = sorted(self.ordered, key=lambda trial: trial.rank, reverse=True)
        due = [trial.lr for trial in ranked[: self.rules.finalists]]
        return self._note([rate for rate in due if self._asked[rate] < seeds], seeds)

    def _further(self, at_least: int) -> dict[float, int]:
        """Halve the gaps next to the best rate, the wider one first."""
        missing = max(0, at_least - self.tried)
        gaps = sorted(self._gaps(), key=lambda gap: gap[0] / gap[1])
        return self._add([_rounded(math.sqrt(low * high)) for low, high in gaps[:missing]])

    def _gaps(self) -> list[tuple[float, float]]:
        """The gaps between the best rate and its neighbours."""
        tried, best = sorted(self._asked), self.best.lr
        return [gap for gap in pairwise(tried) if best in gap]

    def _add(self, rates: Sequence[float]) -> dict[float, int]:
        left = self.rules.most_added - self._added
        new = [rate for rate in dict.fromkeys(rates) if rate not in self._asked][:left]
        self._added += len(new)
        return self._note(new, self.rules.seeds)

    def _grid(self, places: Iterable[int]) -> list[float]:
        return [_rounded(self._low * math.exp(place * self._step)) for place in places]

    def _note(self, rates: Iterable[float], seeds: int) -> dict[float, int]:
        due = dict.fromkeys(sorted(rates), seeds)
        self._asked |= due
        return due


def log_grid(low: float, high: float, points: int) -> list[float]:
    """Rates that are evenly spaced on a logarithmic scale, with three significant digits each."""
    ratio = math.log(high / low)
    return [_rounded(low * math.exp(ratio * k / (points - 1))) for k in range(points)]


def _missing(ratio: float, gap: float) -> int:
    """Rates that a gap lacks, at most two at a time."""
    if ratio <= gap:
        return 0
    # (A little closer than asked, because three digits round a ratio by up to 1%.)
    return min(2, max(1, math.ceil(math.log(ratio) / math.log(gap * 0.99)) - 1))


def _rounded(rate: float) -> float:
    return float(f"{rate:.3g}")
