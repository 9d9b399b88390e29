"""How often the intervals of `bsscale.stats` hold what they are to hold, in simulated studies.

    python -m tests.benchmarks.simulate_statistics --studies 1000

In each study an arm and a baseline have n seeds. Samples-to-target are log-normal, with the same
spread in both arms and correlated within a seed. Both have one budget: without censoring there is
none, with 30% it is where the slowest 30% of the slower arm are cut off (so at a ratio of 1 both
arms lose 30%, at 3 the arm alone). Printed are

covered
    the share of studies whose 95% interval holds the true ratio of medians;
apart
    the share whose interval leaves out 1: false alarms where the true ratio is 1, power elsewhere;
width
    the median of high / low, `inf` where most intervals have no end on one side;
open
    the share of intervals that have no end on one side;

then the same for the median of one arm by Kaplan-Meier. The numbers follow from --studies and
--sigma alone. Then come the errors of the rules around the intervals (`simulate_protocol`):
families of arms, looks, equivalence, the fastest arm, divergence and planning; --tables chooses.
This is what it prints by default:

    Ratio of medians (paired_ratio), 1000 studies a row
     n  censored  correlation  true ratio  covered   apart  width   open
     6        0%          0.0         1.0    96.5%    3.5%   2.00   0.0%
     6        0%          0.0         1.3    97.4%   32.2%   2.02   0.0%
     6        0%          0.0         3.0    96.9%  100.0%   2.04   0.0%
     6        0%          0.7         1.0    96.8%    3.2%   1.47   0.0%
     6        0%          0.7         1.3    97.8%   75.1%   1.48   0.0%
     6        0%          0.7         3.0    96.7%  100.0%   1.47   0.0%
     6       30%          0.0         1.0    97.8%    2.2%    inf  98.7%
     6       30%          0.0         1.3    97.1%   28.2%    inf  90.2%
     6       30%          0.0         3.0    97.2%  100.0%    inf  87.5%
     6       30%          0.7         1.0    99.5%    0.5%    inf  95.2%
     6       30%          0.7         1.3    96.0%   64.9%    inf  87.2%
     6       30%          0.7         3.0    94.8%  100.0%    inf  89.7%
    10        0%          0.0         1.0    97.4%    2.6%   1.64   0.0%
    10        0%          0.0         1.3    97.9%   52.5%   1.63   0.0%
    10        0%          0.0         3.0    97.5%  100.0%   1.65   0.0%
    10        0%          0.7         1.0    98.4%    1.6%   1.40   0.0%
    10        0%          0.7         1.3    98.7%   89.7%   1.39   0.0%
    10        0%          0.7         3.0    98.5%  100.0%   1.39   0.0%
    10       30%          0.0         1.0    98.4%    1.6%    inf  96.1%
    10       30%          0.0         1.3    99.1%   53.4%    inf  85.8%
    10       30%          0.0         3.0    97.8%  100.0%    inf  84.7%
    10       30%          0.7         1.0    99.8%    0.2%    inf  94.9%
    10       30%          0.7         1.3    98.4%   88.1%    inf  86.4%
    10       30%          0.7         3.0    98.2%  100.0%    inf  86.2%
    20        0%          0.0         1.0    97.3%    2.7%   1.39   0.0%
    20        0%          0.0         1.3    97.4%   85.8%   1.39   0.0%
    20        0%          0.0         3.0    97.4%  100.0%   1.39   0.0%
    20        0%          0.7         1.0    98.9%    1.1%   1.27   0.0%
    20        0%          0.7         1.3    99.1%   99.8%   1.27   0.0%
    20        0%          0.7         3.0    98.9%  100.0%   1.27   0.0%
    20       30%          0.0         1.0    97.7%    2.3%    inf  83.6%
    20       30%          0.0         1.3    97.3%   89.2%    inf  58.4%
    20       30%          0.0         3.0    97.9%  100.0%    inf  59.2%
    20       30%          0.7         1.0    99.6%    0.4%    inf  76.7%
    20       30%          0.7         1.3    99.0%   99.8%    inf  58.1%
    20       30%          0.7         3.0    98.8%  100.0%    inf  60.4%

    Median of one arm (kaplan_meier), 1000 studies a row
     n  censored  correlation  true ratio  covered   apart  width   open
     6        0%          0.0         1.0    97.1%    2.9%   1.64   0.0%
     6       30%          0.0         1.0    97.2%    2.8%    inf  87.4%
    10        0%          0.0         1.0    93.8%    6.2%   1.52   0.0%
    10       30%          0.0         1.0    93.5%    6.5%    inf  62.2%
    20        0%          0.0         1.0    97.1%    2.9%   1.30   0.0%
    20       30%          0.0         1.0    97.3%    2.7%    inf  57.2%

    Families of 7 arms: any told apart at a true 1.0, each at 1.3
     n  censored  correlation  own: any  verdicts: any  own: power  verdicts: power
     9        0%          0.0      9.1%           3.2%       44.4%            22.3%
     9        0%          0.7      6.8%           3.4%       81.1%            68.5%
     9       30%          0.0      9.2%           2.8%       42.3%            19.3%
     9       30%          0.7      4.8%           1.5%       80.1%            57.4%
    10        0%          0.0     15.1%           4.9%       53.9%            26.7%
    10        0%          0.7     10.1%           4.1%       89.6%            74.8%
    10       30%          0.0      8.4%           1.8%       55.7%            24.7%
    10       30%          0.7      3.8%           1.3%       85.3%            61.4%
    20        0%          0.0     14.8%           5.0%       87.9%            65.6%
    20        0%          0.7      6.1%           2.3%       99.7%            96.3%
    20       30%          0.0     11.8%           3.6%       89.7%            67.2%
    20       30%          0.7      6.2%           1.3%       99.7%            96.0%

    Looks: any arm told apart at a true 1.0 when the study stops; median seeds at 1.5
    looks               arms  censored  wrong  seeds at 1.5
    10, 15, 20             1        0%   2.3%            10
    10, 15, 20             1       30%   1.4%            10
    10, 15, 20             7        0%   1.3%            20
    10, 15, 20             7       30%   0.8%            20
    10, 15, 20, 25, 30     1        0%   2.6%            10
    10, 15, 20, 25, 30     1       30%   1.3%            10
    10, 15, 20, 25, 30     7        0%   1.5%            20
    10, 15, 20, 25, 30     7       30%   0.9%            20

    The fastest of 7 arms that all need 1.10: quartiles of its ratio
     n  as seen             corrected           called faster than the runner-up
     6  0.902  0.968  1.045  1.018  1.100  1.179  0.5%
    10  0.934  0.992  1.054  1.035  1.095  1.163  0.2%
    20  0.979  1.023  1.065  1.053  1.098  1.142  0.4%

    As fast within 10%, at a true 1.0 (spread 0.1); planned for 80%: 39 seeds
     n  alone  one of 7
     6   1.4%      1.2%
    10   4.3%      0.1%
    20  27.1%      2.5%
    50  91.8%     69.9%

    "Diverges" said at a true rate of 0.3, 0.5, 0.8 (exact); before: half of the runs
     n  at 0.3  before   at 0.5   at 0.8
     6    1.1%   25.6%    10.9%    65.5%
    10    1.1%   15.0%    17.2%    87.9%
    20    1.7%    4.8%    41.2%    99.7%

    Planned seeds from 10 seeds (quartiles), and from 2,001
    question                 spread  quartiles        from 2,001
    told apart at 1.3           0.2    10   17   30             18
    as fast within 10%          0.1    29   38   49             39
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bsscale.stats import kaplan_meier, paired_ratio
from tests.benchmarks import simulate_protocol


@dataclass(frozen=True)
class Cell:
    n: int
    censored: float
    correlation: float
    ratio: float
    sigma: float = 0.2


@dataclass(frozen=True)
class Outcome:
    covered: float
    apart: float
    width: float
    open: float


TABLES = ["coverage", "families", "looks", "equivalence", "winners", "divergence", "planning"]
SEEDS = (6, 10, 20)
CENSORED = (0.0, 0.3)
CORRELATIONS = (0.0, 0.7)
RATIOS = (1.0, 1.3, 3.0)

Floats = NDArray[np.float64]


def grid(sigma: float = 0.2) -> list[Cell]:
    axes = itertools.product(SEEDS, CENSORED, CORRELATIONS, RATIOS)
    return [Cell(*values, sigma) for values in axes]


def draw_studies(cell: Cell, studies: int, seed: int = 0) -> Iterator[Floats]:
    """Samples-to-target of an arm and a baseline whose median is 1, shape (2, n)."""
    # (Hundredths, because a generator is seeded by integers.)
    key = [round(100 * x) for x in (cell.n, cell.censored, cell.correlation, cell.ratio)]
    rng = np.random.default_rng([seed, round(100 * cell.sigma), *key])
    budget = math.inf
    if cell.censored:
        slow = special.ndtri(1 - cell.censored)
        budget = max(cell.ratio, 1.0) * math.exp(cell.sigma * float(slow))
    for _ in range(studies):
        shared, own = rng.standard_normal(cell.n), rng.standard_normal(cell.n)
        other = cell.correlation * shared + math.sqrt(1 - cell.correlation**2) * own
        samples = np.exp(cell.sigma * np.stack([shared, other]))
        samples[0] *= cell.ratio
        yield np.where(samples > budget, math.inf, samples)


def simulate_ratio(cell: Cell, studies: int) -> Outcome:
    """The interval of `paired_ratio`."""
    ends = []
    for study, (arm, baseline) in enumerate(draw_studies(cell, studies)):
        estimate = paired_ratio(dict(enumerate(arm)), dict(enumerate(baseline)), seed=study)
        ends.append((estimate.low, estimate.high))
    return outcome(np.array(ends), cell.ratio)


def simulate_median(cell: Cell, studies: int) -> Outcome:
    """The median's interval of `kaplan_meier`, of the arm."""
    ends = []
    for arm, _ in draw_studies(cell, studies):
        reached = np.isfinite(arm)
        # Where the others are cut off does not matter, as long as it is after the last of these.
        budget = arm[reached].max(initial=1.0)
        curve = kaplan_meier(np.where(reached, arm, budget).tolist(), reached.tolist())
        ends.append((curve.low, curve.high))
    return outcome(np.array(ends), cell.ratio)


def outcome(ends: Floats, truth: float) -> Outcome:
    low, high = ends.T
    no_end = (low == 0) | np.isinf(high)
    width = np.full(len(ends), math.inf)
    width[~no_end] = high[~no_end] / low[~no_end]
    return Outcome(
        covered=float(np.mean((low <= truth) & (truth <= high))),
        apart=float(np.mean((low > 1) | (high < 1))),
        width=float(np.median(width)),
        open=float(np.mean(no_end)),
    )


def print_table(
    title: str, cells: list[Cell], simulate: Callable[[Cell, int], Outcome], studies: int
) -> None:
    print(f"\n{title}, {studies} studies a row")
    print(" n  censored  correlation  true ratio  covered   apart  width   open")
    for cell in cells:
        seen = simulate(cell, studies)
        print(
            f"{cell.n:2}  {cell.censored:8.0%}  {cell.correlation:11}  {cell.ratio:10}"
            f"  {seen.covered:7.1%}  {seen.apart:6.1%}  {seen.width:5.2f}  {seen.open:5.1%}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies a row")
    parser.add_argument("--sigma", type=float, default=0.2, help="standard deviation of the logs")
    parser.add_argument(
        "--tables", nargs="+", choices=TABLES, default=TABLES, help="which to print; all by default"
    )
    options = parser.parse_args()
    studies = options.studies
    for name in options.tables:
        match name:
            case "coverage":
                coverage(studies, options.sigma)
            case "families":
                simulate_protocol.families(studies)
            case "looks":
                simulate_protocol.looks(studies)
            case "equivalence":
                simulate_protocol.equivalence(studies)
            case "winners":
                simulate_protocol.winners(studies)
            case "divergence":
                simulate_protocol.divergence()
            case "planning":
                simulate_protocol.planning(studies)


def coverage(studies: int, sigma: float) -> None:
    """Coverage of the intervals of one ratio and of one median."""
    cells = grid(sigma)
    print_table("Ratio of medians (paired_ratio)", cells, simulate_ratio, studies)
    one_arm = [cell for cell in cells if cell.correlation == 0 and cell.ratio == 1]
    print_table("Median of one arm (kaplan_meier)", one_arm, simulate_median, studies)


if __name__ == "__main__":
    main()
