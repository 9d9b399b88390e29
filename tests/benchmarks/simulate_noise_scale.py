"""How often the interval of the gradient noise scale holds the truth, for known covariances.

    python -m tests.benchmarks.simulate_noise_scale --studies 1000

In each study, n windows measure the gradients of 8 micro-batches. The gradient of a micro-batch is
normal around the true gradient, with a covariance whose eigenvalues fall as 1, 1/2, 1/3, … in d
dimensions; the true gradient has equal parts in all of them. The noise scale is 1/8 to 128 times
the samples of one window. In a study with a trend, the squared gradient falls to a thirtieth and
the covariance to a half from the first window to the last; the truth is the ratio of the averages
over the windows. Printed are

covered
    the share of studies whose 95% interval holds the true noise scale;
width
    the median of high / low, `inf` where most intervals have no high end;
open
    the share of intervals without a high end;
value
    the median of estimate / truth, where there is an estimate;
bootstrap
    the share covered by the 95% percentile bootstrap over windows, for comparison.

With --studies 1000 it prints, among others:

    windows  dimensions  noise scale / B  trend  covered   width   open  value  bootstrap
         10           1            0.125     no    97.9%    6.81     4%   1.00      90.1%
         10           1            0.125    yes    96.2%     inf    56%   1.03      90.5%
         10           1                1     no    96.1%     inf    96%   0.97      85.3%
         10           1                1    yes    99.0%     inf    99%   0.71      84.2%
         10           1                8     no    99.6%     inf   100%   0.30      85.5%
         10           1                8    yes    99.6%     inf   100%   0.14      85.3%
         10          10            0.125     no    98.0%    1.83     0%   1.00      89.4%
         10          10            0.125    yes    98.6%    2.77     0%   1.01      99.1%
         10          10                1     no    97.4%    8.98    20%   1.01      89.9%
         10          10                1    yes    96.7%     inf    84%   1.04      90.0%
         10          10                8     no    99.6%     inf    99%   0.61      87.0%
         10          10                8    yes    99.6%     inf    99%   0.35      88.7%
         10        1000            0.125     no    97.3%    1.20     0%   1.00      89.5%
         10        1000            0.125    yes   100.0%    1.80     0%   1.00     100.0%
         10        1000                1     no    97.6%    1.68     0%   0.99      88.2%
         10        1000                1    yes    98.3%    3.97     2%   1.00      99.2%
         10        1000                8     no    97.3%     inf    87%   0.96      88.9%
         10        1000                8    yes    99.7%     inf    98%   0.69      89.9%
         50           1            0.125     no    96.1%    1.78     0%   1.00      92.7%
         50           1            0.125    yes    93.9%    2.53     0%   1.02      94.5%
         50           1                1     no    95.3%    8.10    18%   1.00      93.3%
         50           1                1    yes    97.9%     inf    85%   0.96      92.7%
         50           1                8     no    99.3%     inf    98%   0.54      93.2%
         50           1                8    yes    99.7%     inf    99%   0.29      91.6%
         50          10            0.125     no    96.3%    1.23     0%   1.00      93.3%
         50          10            0.125    yes    95.1%    1.37     0%   1.00      99.7%
         50          10                1     no    96.3%    1.85     0%   1.01      93.4%
         50          10                1    yes    95.8%    4.16     4%   1.02      93.9%
         50          10                8     no    99.2%     inf    83%   0.96      94.1%
         50          10                8    yes    98.6%     inf    96%   0.58      92.6%
         50        1000            0.125     no    95.3%    1.07     0%   1.00      91.9%
         50        1000            0.125    yes    96.9%    1.10     0%   1.00     100.0%
         50        1000                1     no    97.2%    1.20     0%   1.00      94.5%
         50        1000                1    yes    95.9%    1.53     0%   1.01      99.2%
         50        1000                8     no    96.0%    4.51     7%   1.01      93.6%
         50        1000                8    yes    98.7%     inf    80%   0.93      92.8%
    least covered with 10 windows or more: 93.9%
"""

from __future__ import annotations

import argparse
import math
import statistics
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bsscale.critical_batch.noise_scale import Moments, moments, noise_scale

Floats = npt.NDArray[np.float64]

MICRO_BATCHES = 8
MICRO_BATCH = 128
RESAMPLES = 400


@dataclass(frozen=True)
class Case:
    """A gradient with a known covariance, and how it is measured."""

    windows: int
    dimensions: int
    ratio: float  # of the noise scale to the samples of a window
    trend: bool

    def truth(self) -> float:
        squared, trace = self.levels()
        return float(trace.mean() / squared.mean())

    def levels(self) -> tuple[Floats, Floats]:
        """|G|² and tr Σ at each window."""
        along = np.linspace(0, 1, self.windows) if self.trend else np.zeros(self.windows)
        large = MICRO_BATCHES * MICRO_BATCH
        return 30.0**-along, self.ratio * large * 2.0**-along

    def measure(self, rng: np.random.Generator) -> list[Moments]:
        """What one study measures."""
        squared, trace = self.levels()
        spectrum = 1 / np.arange(1, self.dimensions + 1)
        spectrum /= spectrum.sum()
        variance = trace[:, np.newaxis] * spectrum / MICRO_BATCH  # of a micro-batch's gradient
        shape = (self.windows, self.dimensions)
        gradient = np.sqrt(squared[:, np.newaxis] / self.dimensions)
        mean = gradient + np.sqrt(variance / MICRO_BATCHES) * rng.standard_normal(shape)
        # The squared distances of eight gradients from their mean are χ² with 7 degrees of freedom.
        spread = variance / MICRO_BATCHES * rng.chisquare(MICRO_BATCHES - 1, shape)
        large = (mean**2).sum(axis=1)
        small = large + spread.sum(axis=1)
        return [
            moments(s, b, MICRO_BATCH, MICRO_BATCHES * MICRO_BATCH)
            for s, b in zip(small, large, strict=True)
        ]


def bootstrap(windows: list[Moments], rng: np.random.Generator) -> tuple[float, float]:
    """The percentile bootstrap over windows; a mean of |G|² that is not positive is infinite."""
    values = np.array([(each.trace, each.squared_gradient) for each in windows])
    draws = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    ratios = np.where(draws[:, 1] > 0, draws[:, 0] / draws[:, 1], math.inf)
    low, high = np.quantile(ratios, [0.025, 0.975], method="nearest")
    return float(low), float(high)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--studies", type=int, default=1000)
    studies = parser.parse_args().studies
    print("windows  dimensions  noise scale / B  trend  covered   width   open  value  bootstrap")
    least = 1.0
    for windows in (5, 10, 20, 50):
        for dimensions in (1, 10, 1000):
            for ratio in (1 / 8, 1.0, 8.0, 128.0):
                for trend in (False, True):
                    case = Case(windows, dimensions, ratio, trend)
                    least = min(least, row(case, studies))
    print(f"least covered with 10 windows or more: {100 * least:.1f}%")


def row(case: Case, studies: int) -> float:
    """Print one case; gives the share covered, 1 where there are too few windows to rely on."""
    rng = np.random.default_rng([case.windows, case.dimensions, int(8 * case.ratio), case.trend])
    truth = case.truth()
    covered = opened = by_bootstrap = 0
    widths, values = [], []
    for _ in range(studies):
        found = case.measure(rng)
        scale = noise_scale(found)
        low, high = scale.interval or (math.nan, math.nan)
        covered += low <= truth <= high
        opened += math.isinf(high)
        widths.append(high / low if low > 0 else math.inf)
        if scale.samples is not None:
            values.append(scale.samples / truth)
        low, high = bootstrap(found, rng)
        by_bootstrap += low <= truth <= high
    trend, value = "yes" if case.trend else "no", statistics.median(values or [math.nan])
    print(
        f"{case.windows:7}  {case.dimensions:10}  {case.ratio:15g}  {trend:>5}"
        f"  {100 * covered / studies:6.1f}%  {statistics.median(widths):6.2f}"
        f"  {100 * opened / studies:4.0f}%  {value:5.2f}  {100 * by_bootstrap / studies:8.1f}%",
        flush=True,
    )
    return covered / studies if case.windows >= 10 else 1.0


if __name__ == "__main__":
    main()
