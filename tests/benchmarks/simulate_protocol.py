"""How often the rules around the intervals are wrong, in simulated studies.

A part of simulate_statistics. All arms of a study share what belongs to a seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from bsscale.stats import (
    Looks,
    compare_family,
    fastest,
    look_at,
    rate,
    required_seeds,
    seeds_for_equivalence,
)

Arms = dict[str, dict[int, float]]
COMPARISONS = 7
PRIMARY = "arm 5"


def draw(
    n: int,
    ratios: Sequence[float],
    studies: int,
    *,
    censored: float = 0.0,
    correlation: float = 0.0,
    sigma: float = 0.2,
) -> Iterator[tuple[Arms, dict[int, float]]]:
    """Studies of several arms with these true ratios to one baseline."""
    key = [round(100 * x) for x in (n, len(ratios), ratios[0], censored, correlation, sigma)]
    rng = np.random.default_rng(key)
    true = np.array([1.0, *ratios])
    budget = math.inf
    if censored:
        budget = true.max() * math.exp(sigma * float(special.ndtri(1 - censored)))
    for _ in range(studies):
        own = rng.standard_normal((len(true), n))
        logs = math.sqrt(correlation) * rng.standard_normal(n) + math.sqrt(1 - correlation) * own
        samples = true[:, None] * np.exp(sigma * logs)
        samples[samples > budget] = math.inf
        baseline, *arms = (dict(enumerate(each)) for each in samples.tolist())
        yield {f"arm {k}": runs for k, runs in enumerate(arms, start=1)}, baseline


def families(studies: int) -> None:
    """Any false difference among 7 arms, and the power for each of 7 arms at 1.3."""
    print(f"\nFamilies of {COMPARISONS} arms: any told apart at a true 1.0, each at 1.3")
    print(" n  censored  correlation  own: any  verdicts: any  own: power  verdicts: power")
    for n in (9, 10, 20):
        for censored in (0.0, 0.3):
            for correlation in (0.0, 0.7):
                shares = []
                for ratio in (1.0, 1.3):
                    own, judged = [], []
                    drawn = draw(n, [ratio] * COMPARISONS, studies, censored=censored,
                                 correlation=correlation)  # fmt: skip
                    for arms, baseline in drawn:
                        family = compare_family(arms, baseline, primary=PRIMARY)
                        own.append([each.told_apart for each in family.own.values()])
                        judged.append([each.told_apart for each in family.judged.values()])
                    for seen in (np.array(own), np.array(judged)):
                        shares.append(seen.any(axis=1).mean() if ratio == 1 else seen.mean())
                print(
                    f"{n:2}  {censored:8.0%}  {correlation:11}  {shares[0]:8.1%}  {shares[1]:13.1%}"
                    f"  {shares[2]:10.1%}  {shares[3]:15.1%}",
                    flush=True,
                )


def looks(studies: int) -> None:
    """Any false difference where seeds are added in looks, and the seeds that it takes."""
    print("\nLooks: any arm told apart at a true 1.0 when the study stops; median seeds at 1.5")
    print("looks               arms  censored  wrong  seeds at 1.5")
    for last in (20, 30):
        plan = Looks.up_to(last)
        named = ", ".join(map(str, plan.seeds))
        for count in (1, COMPARISONS):
            for censored in (0.0, 0.3):
                same, slower = (
                    [stopped(*study, plan) for study in draw(last, [ratio] * count, many,
                                                             censored=censored)]
                    for ratio, many in ((1.0, studies), (1.5, studies // 4))
                )  # fmt: skip
                wrong = np.mean([each.wrong for each in same])
                needed = np.median([each.seeds for each in slower])
                print(f"{named:18}  {count:4}  {censored:8.0%}  {wrong:5.1%}  {needed:12.0f}",
                      flush=True)  # fmt: skip


class Stopped:
    """Where a study stopped, and whether it then told any arm apart."""

    def __init__(self, seeds: int, wrong: bool) -> None:
        self.seeds, self.wrong = seeds, wrong


def stopped(arms: Arms, baseline: dict[int, float], plan: Looks) -> Stopped:
    for n in plan.seeds:
        first = {arm: {s: x for s, x in runs.items() if s < n} for arm, runs in arms.items()}
        known = {s: x for s, x in baseline.items() if s < n}
        look = look_at(first, known, plan, n, primary=PRIMARY)
        if look.stop:
            judged = look.family.judged.values()
            return Stopped(n, not look.family.each_alone and any(e.told_apart for e in judged))
    raise AssertionError


def equivalence(studies: int) -> None:
    """How often an arm is called as fast within 10% at a true 1.0, spread of logs 0.1."""
    planned = [
        seeds_for_equivalence(arms["arm 1"], baseline)
        for arms, baseline in draw(2001, [1.0], 1, sigma=0.1)
    ]
    print(f"\nAs fast within 10%, at a true 1.0 (spread 0.1); planned for 80%: {planned[0]} seeds")
    print(" n  alone  one of 7")
    for n in (6, 10, 20, 50):
        shares = []
        for count in (1, COMPARISONS):
            seen = [
                compare_family(arms, baseline).judged["arm 1"].within(0.1)
                for arms, baseline in draw(n, [1.0] * count, studies, sigma=0.1)
            ]
            shares.append(np.mean(seen))
        print(f"{n:2}  {shares[0]:5.1%}  {shares[1]:8.1%}", flush=True)


def winners(studies: int) -> None:
    """The fastest of 7 arms that all need 1.1 times the samples, as it is reported."""
    print("\nThe fastest of 7 arms that all need 1.10: quartiles of its ratio")
    print(" n  as seen             corrected           called faster than the runner-up")
    for n in (6, 10, 20):
        seen, corrected, lead = [], [], []
        for arms, baseline in draw(n, [1.1] * COMPARISONS, studies):
            best = fastest(arms, baseline)
            assert best is not None and best.corrected is not None and best.lead is not None
            seen.append(np.median([*arms[best.arm].values()]) / np.median([*baseline.values()]))
            corrected.append(best.corrected)
            lead.append(best.lead.told_apart)
        print(f"{n:2}  {quartiles(seen)}  {quartiles(corrected)}  {np.mean(lead):.1%}", flush=True)


def divergence() -> None:
    """How often an arm is said to diverge, by the exact distribution of the number of runs."""
    print('\n"Diverges" said at a true rate of 0.3, 0.5, 0.8 (exact); before: half of the runs')
    print(" n  at 0.3  before   at 0.5   at 0.8")
    for n in (6, 10, 20):
        fewest = min(k for k in range(n + 1) if rate(k, n).diverges)
        said = [float(stats.binom.sf(fewest - 1, n, p)) for p in (0.3, 0.5, 0.8)]
        before = float(stats.binom.sf(math.ceil(n / 2) - 1, n, 0.3))
        print(f"{n:2}  {said[0]:6.1%}  {before:6.1%}  {said[1]:7.1%}  {said[2]:7.1%}", flush=True)


def planning(studies: int) -> None:
    """Quartiles of the seeds that 10 seeds plan, and the number from 2,001 seeds."""
    print("\nPlanned seeds from 10 seeds (quartiles), and from 2,001")
    print("question                 spread  quartiles        from 2,001")
    for name, ratio, sigma in (("told apart at 1.3", 1.3, 0.2), ("as fast within 10%", 1.0, 0.1)):
        plan = required_seeds if ratio > 1 else seeds_for_equivalence
        [whole] = [plan(a["arm 1"], b) for a, b in draw(2001, [ratio], 1, sigma=sigma)]
        pilots = [
            plan(a["arm 1"], b) or 1000 for a, b in draw(10, [ratio], 10 * studies, sigma=sigma)
        ]
        low, middle, high = np.quantile(pilots, [0.25, 0.5, 0.75])
        print(f"{name:23}  {sigma:6}  {low:4.0f} {middle:4.0f} {high:4.0f}   {whole!s:>12}",
              flush=True)  # fmt: skip


def quartiles(values: Sequence[float]) -> str:
    found: NDArray[np.float64] = np.quantile(values, [0.25, 0.5, 0.75])
    return "  ".join(f"{value:.3f}" for value in found)
