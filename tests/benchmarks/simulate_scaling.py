"""How often the interval of the critical batch covers it, in simulated studies.

    python -m tests.benchmarks.simulate_scaling --studies 500

docs/scaling.md has what it prints. Each row is so many studies. In a study, runs at K batches, a
factor 2 apart, have n seeds each. Printed are

covered
    the share of studies whose 95% interval holds the true Bc;
identified
    the share that call Bc identified; where it is beyond reach, that is wrong;
width
    the median of high / low, infinite ends included;
beside it
    the width of another interval, or of another study, of the same runs where that is possible.

*Planted curves* follow ``Emin (1 + B / Bc)``, with log-normal noise between seeds (sigma), an error
that all seeds of a batch share (shared), and budgets: with 30% censoring, that share of the runs at
the largest batch is cut off. Beside them is a percentile bootstrap over seeds, widened for few
seeds.

*A noisy quadratic*: SGD at a constant rate on a quadratic with gradient noise. The mean of its loss
follows exactly from a recursion, so that the samples to a target, and the best rate at each batch,
are known; Bc is that of the curve at the best rates. A study searches for the rate of each batch
by the search of `task=study`, on noisy tuning runs, and trains report runs at what it found. An
oracle knows the best rates, and trains report runs only.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize

from bsscale.critical_batch import Point, Scaling, choice_variance, fit, scaling
from bsscale.critical_batch.curve import log_rise
from bsscale.critical_batch.points import as_data
from bsscale.stats.bootstrap import expanded
from bsscale.stats.search import Result, Rules, Search, Trial

EMIN = 200_000.0
FIRST = 128


@dataclass(frozen=True)
class Tally:
    """The intervals of some studies."""

    truth: float
    intervals: list[tuple[float, float]]
    identified: list[bool]

    def row(self) -> str:
        inside = np.mean([low <= self.truth <= high for low, high in self.intervals])
        return f"{inside:8.1%} {np.mean(self.identified):11.1%} {median_width(self.intervals):7.2f}"


def median_width(intervals: list[tuple[float, float]]) -> float:
    return float(np.median([high / low if low > 0 else math.inf for low, high in intervals]))


def tally(truth: float, found: list[Scaling]) -> Tally:
    fits = [each.fit for each in found]
    return Tally(
        truth,
        [(0.0, math.inf) if each is None else each.interval for each in fits],
        [each.identified for each in found],
    )


# -- planted curves ----------------------------------------------------------------------------


def planted(
    rng: np.random.Generator, batches: int, seeds: int, sigma: float, shared: float,
    censored: float, critical: float,
) -> list[Point]:  # fmt: skip
    batch = FIRST * 2.0 ** np.arange(batches)
    rise = log_rise(batch, math.log(critical))[0]
    budget = math.inf
    if censored:
        from scipy.stats import norm

        budget = EMIN * math.exp(rise[-1] + sigma * norm.ppf(1 - censored))
    points = []
    for size, each in zip(batch, rise, strict=True):
        level = math.log(EMIN) + each + rng.normal(0, shared)
        for seed in range(seeds):
            samples = math.exp(level + rng.normal(0, sigma))
            missed = samples > budget
            limit = None if math.isinf(budget) else budget
            points.append(Point(size, None if missed else samples, limit, seed))
    return points


def by_bootstrap(points: list[Point], draws: int = 200) -> tuple[float, float]:
    """A percentile bootstrap over seeds, the same draws for all batches, widened for few seeds."""
    seeds = sorted({point.seed for point in points if point.seed is not None})
    by_seed = {seed: [p for p in points if p.seed == seed] for seed in seeds}
    rng = np.random.default_rng(0)
    found = []
    for _ in range(draws):
        drawn = [p for seed in rng.choice(seeds, len(seeds)) for p in by_seed[int(seed)]]
        data = as_data(drawn)
        if (data.reached > 0).sum() >= 2:
            found.append(fit(data).curve.critical_batch)
    tail = expanded(0.025, len(seeds))
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


PLANTED = [
    # batches, seeds, sigma, shared, censored
    (7, 6, 0.06, 0.0, 0.0),
    (7, 6, 0.06, 0.03, 0.0),
    (7, 6, 0.06, 0.08, 0.0),
    (7, 6, 0.15, 0.0, 0.3),
    (7, 3, 0.06, 0.0, 0.0),
    (7, 3, 0.06, 0.0, 0.3),
    (7, 3, 0.15, 0.05, 0.3),
    (7, 1, 0.06, 0.0, 0.0),
    (5, 6, 0.06, 0.0, 0.3),
    (5, 6, 0.06, 0.05, 0.0),
    (5, 2, 0.10, 0.0, 0.0),
    (5, 1, 0.06, 0.0, 0.0),
    (4, 6, 0.06, 0.03, 0.0),
    (3, 10, 0.06, 0.0, 0.0),
    (3, 3, 0.06, 0.0, 0.0),
    (3, 10, 0.06, 0.03, 0.0),
]


def planted_rows(studies: int, bootstraps: int) -> Iterator[str]:
    yield f"\nPlanted curves, Bc a quarter of the largest batch; {studies} studies a row"
    yield " K   n  sigma  shared  censored  covered  identified   width  bootstrap: covered, width"
    for batches, seeds, sigma, shared, censored in PLANTED:
        critical = FIRST * 2.0 ** (batches - 3)
        rng = np.random.default_rng(1)
        drawn = [
            planted(rng, batches, seeds, sigma, shared, censored, critical) for _ in range(studies)
        ]
        found = tally(critical, [scaling(points) for points in drawn])
        beside = ""
        if bootstraps and seeds > 2:
            others = [by_bootstrap(points) for points in drawn[:bootstraps]]
            inside = np.mean([low <= critical <= high for low, high in others])
            beside = f"{inside:19.1%} {median_width(others):6.2f}"
        yield (
            f"{batches:2d} {seeds:3d} {sigma:6.2f} {shared:7.2f} {censored:9.0%} {found.row()}"
            f"{beside}"
        )


OUT_OF_REACH = [
    # batches, seeds, sigma, shared, Bc over the largest batch, or None: no dependence
    (7, 6, 0.06, 0.0, math.inf),
    (7, 3, 0.06, 0.0, math.inf),
    (7, 6, 0.06, 0.05, math.inf),
    (7, 1, 0.15, 0.0, math.inf),
    (3, 3, 0.06, 0.0, math.inf),
    (7, 6, 0.06, 0.0, 100.0),
    (7, 6, 0.06, 0.0, 15.0),
    (7, 6, 0.06, 0.03, 15.0),
    (5, 3, 0.10, 0.0, 20.0),
    (7, 6, 0.06, 0.0, 1 / 64 / 15),
    (7, 3, 0.06, 0.03, 1 / 64 / 15),
    (5, 6, 0.06, 0.0, 1 / 16 / 100),
]


def out_of_reach_rows(studies: int) -> Iterator[str]:
    yield f"\nBc beyond reach: none is identified; {studies} studies a row"
    yield " K   n  sigma  shared  Bc / largest batch  covered  identified   width"
    for batches, seeds, sigma, shared, times in OUT_OF_REACH:
        critical = times * FIRST * 2.0 ** (batches - 1)
        rng = np.random.default_rng(2)
        use = 1e12 if math.isinf(critical) else critical
        drawn = [planted(rng, batches, seeds, sigma, shared, 0.0, use) for _ in range(studies)]
        found = tally(critical, [scaling(points) for points in drawn])
        yield (f"{batches:2d} {seeds:3d} {sigma:6.2f} {shared:7.2f} {times:19.4f} {found.row()}")


# -- a noisy quadratic ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Quadratic:
    """SGD on ½ Σ h x², with gradient noise of variance c / B in each direction.

    ``E[x²]`` after an update is ``(1 - rate h)² E[x²] + rate² c / B``, so that the mean loss after
    t updates is known; the target is a share of the first loss.
    """

    curvature: np.ndarray
    noise: np.ndarray
    target: float

    def samples(self, batch: float, rate: float) -> float:
        """Samples to the target; infinite where a constant rate does not reach it."""
        h, shrink = self.curvature, (1 - rate * self.curvature) ** 2
        if shrink.max() >= 1:
            return math.inf
        floor = rate**2 * self.noise / batch / (1 - shrink)
        if 0.5 * (h * floor).sum() >= self.target:
            return math.inf
        powers = np.log(shrink)

        def loss(log_steps: float) -> float:
            kept = np.exp(powers * math.exp(log_steps))
            return float(0.5 * (h * (kept * (1 / h - floor) + floor)).sum()) - self.target

        return batch * math.exp(optimize.brentq(loss, -5.0, 30.0, xtol=1e-6))

    def best_rate(self, batch: float) -> float:
        """The constant rate with the fewest samples."""
        most = 2 / self.curvature.max()
        rates = most * np.exp(np.linspace(-9, -0.001, 120))
        found = [self.samples(batch, rate) for rate in rates]
        at = int(np.argmin(found))
        made = optimize.minimize_scalar(
            lambda log_rate: self.samples(batch, math.exp(log_rate)),
            bounds=(math.log(rates[max(at - 1, 0)]), math.log(rates[min(at + 1, 119)])),
            method="bounded",
        )
        return math.exp(made.x)


def quadratic(spread: float, noise: float) -> Quadratic:
    """Twenty directions whose curvatures fall to 1 / spread; each begins with the same loss."""
    curvature = np.exp(-np.linspace(0, math.log(spread), 20))
    return Quadratic(curvature, noise * curvature, 0.5 * len(curvature) * 0.02)


@cache
def best_rate(problem: Quadratic, batch: float) -> float:
    return problem.best_rate(batch)


def study_of(
    problem: Quadratic, batches: np.ndarray, seeds: int, sigma: float, rng: np.random.Generator
) -> list[Scaling]:
    """A study that tunes, and an oracle that knows the rates."""
    tuned, known, shared = [], [], {}
    for batch in batches:
        best = best_rate(problem, float(batch))
        search = Search(Rules(trials=12, seeds=2, finalist_seeds=3), best / 40, best * 20)
        runs: dict[float, list[float]] = {}
        while due := search.ask():
            for rate, count in due.items():
                true = problem.samples(batch, rate)
                while len(runs.setdefault(rate, [])) < count:
                    runs[rate].append(true * math.exp(rng.normal(0, sigma)))
            search.tell(
                Trial(rate, tuple(Result(-each, each) for each in samples))
                for rate, samples in runs.items()
            )
        shared[float(batch)] = choice_variance(runs)
        errors = rng.normal(0, sigma, seeds)
        for points, rate in ((tuned, search.best.lr), (known, best)):
            true = problem.samples(batch, rate)
            points += [
                Point(float(batch), true * math.exp(error), None, seed)
                for seed, error in enumerate(errors)
            ]
    return [scaling(tuned, shared=shared), scaling(known)]


QUADRATICS = [
    # spread of curvatures, noise, seeds, sigma
    (10.0, 30.0, 6, 0.06),
    (10.0, 30.0, 3, 0.06),
    (100.0, 60.0, 6, 0.06),
    (100.0, 60.0, 6, 0.15),
]


def quadratic_rows(studies: int) -> Iterator[str]:
    yield f"\nSGD on a noisy quadratic, rates tuned at 7 batches; {studies} studies a row"
    yield "spread   n  sigma       Bc  misfit  covered  identified   width  oracle: covered, width"
    batches = 64 * 2.0 ** np.arange(7)
    for spread, noise, seeds, sigma in QUADRATICS:
        problem = quadratic(spread, noise)
        rates = [problem.best_rate(batch) for batch in batches]
        exact = as_data(
            Point(float(batch), problem.samples(batch, rate))
            for batch, rate in zip(batches, rates, strict=True)
        )
        true = fit(exact)
        rng = np.random.default_rng(3)
        pairs = [study_of(problem, batches, seeds, sigma, rng) for _ in range(studies)]
        truth = true.curve.critical_batch
        mine, oracle = (tally(truth, [pair[k] for pair in pairs]) for k in (0, 1))
        inside = np.mean([low <= truth <= high for low, high in oracle.intervals])
        yield (
            f"{spread:6.0f} {seeds:3d} {sigma:6.2f} {truth:8.1f} {true.noise.sigma:7.1%} "
            f"{mine.row()}"
            f"{inside:16.1%} {median_width(oracle.intervals):6.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--bootstraps", type=int, default=0, help="studies with the other interval")
    parser.add_argument("--tables", nargs="*", default=["planted", "reach", "quadratic"])
    given = parser.parse_args()
    tables = {
        "planted": lambda: planted_rows(given.studies, given.bootstraps),
        "reach": lambda: out_of_reach_rows(given.studies),
        "quadratic": lambda: quadratic_rows(given.studies),
    }
    for name in given.tables:
        for row in tables[name]():
            print(row, flush=True)


if __name__ == "__main__":
    main()
