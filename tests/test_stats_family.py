"""Intervals that hold together, the looks at which a study may stop, rates, and the fastest arm."""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import special, stats

from bsscale.stats import (
    Looks,
    compare_family,
    fastest,
    look_at,
    paired_ratio,
    rate,
    seeds_for_equivalence,
    smallest_margin,
)

INF = math.inf
LOGS = np.random.default_rng(7).normal(0, 0.2, (8, 12))


def runs(logs: Sequence[float], n: int = 10, factor: float = 1.0) -> dict[int, float]:
    return {seed: factor * 100 * math.exp(x) for seed, x in enumerate(list(logs)[:n])}


BASELINE = runs(LOGS[0])


def seven(n: int = 10, factor: float = 1.0) -> dict[str, dict[int, float]]:
    return {f"arm {number}": runs(LOGS[number], n, factor) for number in range(1, 8)}


def restated(arms: Sequence[dict[int, float]], baseline: dict[int, float]) -> int:
    """The rank at which at most 5% of 4,000 draws are outside, from the description alone."""
    n = len(baseline)
    draws = np.random.default_rng(0).integers(0, n, (4000, n), dtype=np.uint32)
    nearest = [4000] * len(draws)
    medians = [np.median(np.array([arm[s] for s in range(n)])[draws], axis=1).tolist()
               for arm in (*arms, baseline)]  # fmt: skip
    for own in medians[:-1]:
        ratios = [a / b for a, b in zip(own, medians[-1], strict=True)]
        order = sorted(range(4000), key=lambda draw: (ratios[draw], draw))
        for rank, draw in enumerate(order, start=1):
            nearest[draw] = min(nearest[draw], rank, 4001 - rank)
    nearest.sort()
    return max(rank for rank in range(1, 2001) if bisect.bisect_left(nearest, rank) <= 200)


@pytest.mark.parametrize("censored", [0, 3])
def test_the_rank_of_intervals_that_hold_together(censored: int) -> None:
    arms = list(seven().values())[:3]
    arms[1] |= dict.fromkeys(range(censored), INF)
    rank = restated(arms, BASELINE)
    family = compare_family(dict(enumerate(arms)), BASELINE)  # type: ignore[arg-type]
    assert family.each == 1 - 2 * rank / 4001
    # Wider than one alone, narrower than Bonferroni's.
    assert 0.05 / 3 / 2 < rank / 4001 < 0.025


def test_an_interval_that_holds_together_is_that_of_its_own_confidence() -> None:
    family = compare_family(seven(), BASELINE, primary="arm 3")
    assert family.each is not None and family.together is not None
    for arm, samples in seven().items():
        own, together = family.own[arm], family.together[arm]
        alone = paired_ratio(samples, BASELINE, confidence=family.each)
        assert (together.low, together.high) == (alone.low, alone.high)
        assert together.low <= own.low <= own.high <= together.high
        assert (together.confidence, together.comparisons, own.comparisons) == (0.95, 7, 1)
    # The primary arm keeps its own; it is one of the comparisons all the same.
    assert family.judged["arm 3"] == family.own["arm 3"]
    assert family.judged["arm 1"] == family.together["arm 1"]


def test_one_comparison_is_no_family() -> None:
    family = compare_family({"a": runs(LOGS[1])}, BASELINE)
    assert family.each == 0.95 and family.together == family.own
    assert compare_family({}, BASELINE).judged == {}


# All n runs lie on one side of their median with a chance of 2 ** (1 - n): 7 / 128 with 8, above
# 5%, and 7 / 256 with 9.
@pytest.mark.parametrize(("arms", "n"), [(7, 9), (6, 8), (2, 7)])
def test_the_fewest_seeds_for_so_many_comparisons(arms: int, n: int) -> None:
    chosen = dict(list(seven(n).items())[:arms])
    assert compare_family(chosen, BASELINE).together is not None
    family = compare_family({arm: runs(LOGS[1], n - 1) for arm in chosen}, BASELINE)
    assert family.together is None and family.each_alone
    assert family.judged == family.own


def test_an_arm_with_half_of_its_runs_censored_has_a_low_end_only() -> None:
    arms = seven(factor=3.0)
    arms["arm 1"] |= dict.fromkeys(range(5), INF)
    together = compare_family(arms, BASELINE).together
    assert together is not None
    assert 1 < together["arm 1"].low < INF and together["arm 1"].high == INF
    # The others do not become narrower than they are without it.
    rest = {arm: samples for arm, samples in arms.items() if arm != "arm 1"}
    without = compare_family(rest, BASELINE).together
    assert without is not None
    assert all(together[arm].low <= without[arm].low for arm in rest)


def test_arms_with_different_seeds_are_corrected_one_by_one() -> None:
    baseline = {**BASELINE, **{seed + 10: x for seed, x in BASELINE.items()}}
    arms = {"a": runs(LOGS[1]), "b": {seed + 10: x for seed, x in runs(LOGS[2]).items()}}
    assert compare_family(arms, baseline).each == pytest.approx(0.975)


# Two-sided bounds for five equal looks at 5%, Pocock's spending function of Lan and DeMets: as the
# R package ldbounds prints them.
def test_levels_of_five_looks() -> None:
    bounds = [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]
    looks = Looks((10, 20, 30, 40, 50))
    assert [-special.ndtri(level / 2) for level in looks.levels] == pytest.approx(bounds, abs=1e-4)


def test_spending_at_each_look() -> None:
    looks = Looks.up_to(30)
    assert looks.seeds == (10, 15, 20, 25, 30)
    # 5% of log(1 + 1.71828 / 3) = 0.45282 and so on.
    assert looks.spent == pytest.approx([0.022641, 0.031006, 0.038171, 0.044434, 0.05], abs=2e-6)
    assert looks.levels == pytest.approx(
        [0.022642, 0.015765, 0.015634, 0.015925, 0.016263], abs=2e-6
    )
    assert looks.confidence_at(15) == 1 - looks.levels[1]
    assert (looks.after(10), looks.after(30)) == (15, None)
    # The last is a look, whatever the steps.
    assert Looks.up_to(12).seeds == (10, 12)
    # One look spends all.
    assert Looks((10,)).levels == pytest.approx([0.05])


@pytest.mark.parametrize("seeds", [(), (10, 10), (20, 10), (0, 10)])
def test_looks_that_do_not_rise(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="give rising numbers"):
        Looks(seeds)


def test_a_study_stops_where_every_arm_is_told_apart_or_as_fast() -> None:
    looks = Looks((10, 12))
    slow, same = seven(factor=3.0), {seed: 1.01 * x for seed, x in BASELINE.items()}
    look = look_at({**slow, "same": same}, BASELINE, looks, 10)
    assert (look.undecided, look.next_seeds, look.stop) == ((), None, True)
    # An arm that is neither: not at the first look, and at the last.
    unclear = {"unclear": runs(LOGS[1]), **slow}
    look = look_at(unclear, BASELINE, looks, 10)
    assert (look.undecided, look.next_seeds, look.stop) == (("unclear",), 12, False)
    look = look_at(unclear, BASELINE, looks, 12)
    assert (look.undecided, look.next_seeds, look.stop) == (("unclear",), None, True)
    # The intervals of a look are those of its level, the primary arm's too.
    family = look_at(slow, BASELINE, looks, 10, primary="arm 1").family
    assert family.confidence == looks.confidence_at(10)
    alone = paired_ratio(slow["arm 1"], BASELINE, confidence=looks.confidence_at(10))
    assert family.judged["arm 1"] == alone
    with pytest.raises(ValueError, match="no look at 11 seeds"):
        look_at(slow, BASELINE, looks, 11)


def test_a_study_does_not_stop_with_too_few_seeds_for_its_comparisons() -> None:
    arms = {f"arm {number}": runs(LOGS[number], 7, 3.0) for number in range(1, 8)}
    assert len(look_at(arms, BASELINE, Looks((7, 10)), 7).undecided) == 7


@pytest.mark.parametrize(("count", "n"), [(0, 10), (1, 6), (6, 10), (7, 10), (9, 10), (3, 3)])
def test_a_rate_has_the_exact_interval(count: int, n: int) -> None:
    seen = rate(count, n)
    exact = stats.binomtest(count, n).proportion_ci(0.95, method="exact")
    assert (seen.low, seen.high) == pytest.approx((exact.low, exact.high))


def test_an_arm_diverges_where_the_interval_is_above_three_tenths() -> None:
    # Of 10 runs, 7: 0.348 at least; of 6, 5 (0.359); never of 3 (0.292).
    found = {n: min((k for k in range(n + 1) if rate(k, n).diverges), default=None)
             for n in (3, 4, 6, 10, 20)}  # fmt: skip
    assert found == {3: None, 4: 4, 6: 5, 10: 7, 20: 11}
    with pytest.raises(ValueError, match="runs"):
        rate(3, 2)


def test_the_fastest_arm_its_lead_and_what_its_choice_gains() -> None:
    arms = seven()
    seen = fastest(arms, BASELINE)
    medians = {arm: statistics.median(samples.values()) for arm, samples in arms.items()}
    first, second = sorted(medians, key=lambda arm: medians[arm])[:2]
    assert seen is not None
    assert (seen.arm, seen.runner_up, seen.among) == (first, second, 7)
    assert seen.lead == paired_ratio(arms[first], arms[second])
    # All seven are alike: the fastest is partly the luckiest.
    assert seen.corrected is not None
    assert seen.corrected > 1.05 * medians[first] / statistics.median(BASELINE.values())
    # Nothing is corrected for an arm that is far ahead, or alone.
    ahead = fastest(arms | {"ahead": {s: x / 4 for s, x in BASELINE.items()}}, BASELINE)
    assert ahead is not None and ahead.arm == "ahead" and ahead.corrected == 0.25
    alone = fastest({"a": runs(LOGS[1])}, BASELINE)
    assert alone is not None and (alone.corrected, alone.runner_up) == (None, None)


def test_no_arm_is_the_fastest_where_all_medians_are_censored() -> None:
    never = dict.fromkeys(range(10), INF)
    assert fastest({"a": never, "b": never}, BASELINE) is None
    half = {**runs(LOGS[1]), **dict.fromkeys(range(4), INF)}
    seen = fastest({"a": never, "b": half}, BASELINE)
    assert seen is not None and (seen.arm, seen.runner_up, seen.lead) == ("b", None, None)


def test_equivalence_takes_so_many_seeds() -> None:
    # As in the tests of `required_seeds`: logs 0, 1/2, 1 and 0.4, 0.8, 1.2, variance 0.02077 for
    # one seed. log 1.1 squared is 0.009084, so that n is at least 2.2866 (t + z)^2, z the quantile
    # at 90%, 1.2816: 24.7 with 25 seeds (t = 2.0639), and 24.8 with 24 (2.0687).
    a, b = ({s: math.exp(x) for s, x in enumerate(logs)} for logs in ((0, 0.5, 1), (0.4, 0.8, 1.2)))
    number = seeds_for_equivalence(a, b)
    assert number is not None
    t = special.stdtrit(np.array([number - 2, number - 1]), 0.975)
    needed = 2.2866 * (t + 1.2816) ** 2
    assert number - 1 < needed[0] and needed[1] <= number
    assert seeds_for_equivalence(a, b, margin=0.2) < number  # type: ignore[operator]
    assert seeds_for_equivalence({0: 1.0, 1: INF, 2: INF}, b) is None
    with pytest.raises(ValueError, match="margin"):
        seeds_for_equivalence(a, b, margin=0.0)


def test_the_smallest_margin() -> None:
    seen = paired_ratio(BASELINE, {s: 1.25 * x for s, x in BASELINE.items()})
    assert smallest_margin(seen) == pytest.approx(0.25)
    assert seen.within(0.2500001) and not seen.within(0.2499)
    assert smallest_margin(paired_ratio({1: 1.0}, {1: 1.0})) is None
    assert smallest_margin(paired_ratio(dict.fromkeys(range(9), INF), BASELINE)) is None
