"""The ratio of medians over paired seeds, and the studies that judge its interval."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bsscale.stats import RatioEstimate, paired_ratio, verdict
from tests.benchmarks.simulate_statistics import Cell, grid, simulate_median, simulate_ratio

INF = math.inf

run = st.floats(1.0, 1e6) | st.just(INF)


@st.composite
def studies(draw: st.DrawFn) -> tuple[dict[int, float], dict[int, float]]:
    seeds = draw(st.lists(st.integers(0, 99), min_size=1, max_size=12, unique=True))
    return {s: draw(run) for s in seeds}, {s: draw(run) for s in seeds}


def numbered(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def quick(arm: Mapping[int, float], baseline: Mapping[int, float]) -> RatioEstimate:
    return paired_ratio(arm, baseline, resamples=400)


def test_a_constant_ratio() -> None:
    baseline = numbered(10, 12, 11, 14, 9, 13, 10.5)
    # The medians of a draw come from the same seed in both arms.
    estimate = paired_ratio({s: 2 * x for s, x in baseline.items()}, baseline)
    assert estimate == RatioEstimate(7, 2.0, 2.0, 2.0, 0.95, 7, 7, 7)


def test_only_shared_seeds_are_compared() -> None:
    estimate = paired_ratio(
        {1: 20.0, 2: 30.0, 3: INF, 5: 15.0, 7: INF}, {2: 10.0, 1: 10.0, 4: INF, 5: INF}
    )
    assert estimate == RatioEstimate(
        n=3,
        ratio=2.0,
        low=0.0,
        high=3.0,
        confidence=None,
        arm_reached=3,
        arm_runs=5,
        baseline_reached=2,
    )


@pytest.mark.parametrize(
    ("arm", "baseline", "expected"),
    [
        ((20.0, 30.0, INF), (10.0, 10.0, 10.0), (3.0, 2.0, INF)),
        ((INF, INF, 20.0), (10.0, 10.0, 10.0), (INF, 2.0, INF)),
        ((20.0, 20.0, 20.0), (INF, INF, 10.0), (0.0, 0.0, 2.0)),
        # Of a pair of censored runs nothing is known.
        ((20.0, 20.0, INF), (10.0, 10.0, INF), (2.0, 0.0, INF)),
        ((INF,), (INF,), (math.nan, 0.0, INF)),
    ],
)
def test_censored_pairs(
    arm: tuple[float, ...], baseline: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    estimate = paired_ratio(numbered(*arm), numbered(*baseline))
    assert (estimate.ratio, estimate.low, estimate.high) == pytest.approx(expected, nan_ok=True)


def test_the_interval_opens_with_censored_runs() -> None:
    baseline = numbered(*range(100, 120))
    arm = {s: 3 * x for s, x in baseline.items()}
    for censored, high_is_finite in ((0, True), (3, True), (9, False), (15, False)):
        cut = {s: INF if s < censored else x for s, x in arm.items()}
        estimate = paired_ratio(cut, baseline)
        assert math.isfinite(estimate.high) == high_is_finite
        assert estimate.low >= 2.5


# An arm, a baseline, the confidence, and the rank of the interval's ends among the 4,000 ratios
# that are drawn: from below and, for the other end, from above. By hand, from tables: Student's t
# that leaves out half of 1 - confidence at each side (n - 1 degrees of freedom), the share of a
# normal distribution beyond it, that share of 4,001, and the whole part.
TEN = (
    (177, 203, 140, 159, 207, 126, 231, 140, 200, 121),
    (117, 104, 159, 151, 130, 137, 193, 122, 189, 194),
)
TWENTY = (
    (158, 234, 213, 120, 175, 240, 197, 124, 227, 222, 238, 144, 132, 240, 123, 195, 131, 161,
     187, 179),
    (185, 163, 151, 126, 130, 104, 107, 101, 117, 181, 164, 191, 150, 160, 197, 172, 163, 154,
     155, 193),
)  # fmt: skip
RANKS = [
    (TEN, 0.95, 47),  # t = 2.262 leaves 0.01184 on one side, 47.4 of 4,001
    (TEN, 0.8, 333),  # t = 1.383, 0.08333, 333.4
    (TWENTY, 0.95, 72),  # t = 2.093, 0.01817, 72.7
]


@pytest.mark.parametrize(("study", "confidence", "rank"), RANKS)
def test_the_ends_of_an_interval_have_these_ranks_among_the_draws(
    study: tuple[tuple[int, ...], ...], confidence: float, rank: int
) -> None:
    arm, baseline = study
    n = len(arm)
    # The same draws of seeds, and medians and ratios by the standard library: a seed brings both of
    # its runs.
    draws = np.random.default_rng(0).integers(0, n, (4000, n), dtype=np.uint32)
    ratios = sorted(
        statistics.median(arm[seed] for seed in drawn)
        / statistics.median(baseline[seed] for seed in drawn)
        for drawn in draws
    )
    estimate = paired_ratio(numbered(*arm), numbered(*baseline), confidence=confidence)
    assert (estimate.low, estimate.high) == pytest.approx((ratios[rank - 1], ratios[-rank]))
    # The next ranks are other numbers, or a wrong rank would not show.
    if confidence == 0.95:
        assert ratios[rank - 2] < ratios[rank - 1] < ratios[rank]
        assert ratios[-rank - 1] < ratios[-rank] < ratios[-rank + 1]


def test_an_interval_in_numbers() -> None:
    # Of the ten seeds above, so that neither the draws nor their ranks change unnoticed.
    arm, baseline = TEN
    estimate = paired_ratio(numbered(*arm), numbered(*baseline))
    assert estimate.ratio == pytest.approx((159 + 177) / (137 + 151))
    assert (estimate.low, estimate.high) == pytest.approx((0.782353, 1.619433), abs=1e-6)


def test_the_fewest_seeds_of_an_interval() -> None:
    # All n runs lie on one side of their median with a chance of 2 ** (1 - n): 1 in 64 with 7,
    # which is above 1%, and 1 in 128 with 8.
    arm, baseline = numbered(*range(20, 28)), numbered(*range(10, 18))
    assert paired_ratio(arm, baseline, confidence=0.99).confidence == 0.99
    del arm[7]
    assert paired_ratio(arm, baseline, confidence=0.99).confidence is None
    # It is never fewer than 6, although 1 in 16 with 5 would do for 80%.
    few = {seed: arm[seed] for seed in range(5)}
    assert paired_ratio(few, baseline, confidence=0.8).confidence is None


def test_more_confidence_needs_more_seeds() -> None:
    arm, baseline = numbered(*range(20, 26)), numbered(*range(10, 16))
    assert paired_ratio(arm, baseline, confidence=0.95).confidence == 0.95
    assert paired_ratio(arm, baseline, confidence=0.9).confidence == 0.9
    # 6 runs are all on one side of their median 3% of the time.
    assert paired_ratio(arm, baseline, confidence=0.99).confidence is None


@given(studies())
def test_an_interval_is_within_the_range_of_ratios(study: tuple[dict[int, float], ...]) -> None:
    arm, baseline = study
    estimate = quick(arm, baseline)
    assert 0 <= estimate.low <= estimate.high
    assert estimate.confidence == (0.95 if estimate.n >= 6 else None)
    if not math.isnan(estimate.ratio) and estimate.n >= 6:
        assert estimate.low <= estimate.ratio <= estimate.high


@given(studies(), st.sampled_from([0.25, 0.5, 2.0, 1024.0]))
def test_scale(study: tuple[dict[int, float], ...], scale: float) -> None:
    # (Powers of 2, so that it holds to the bit.)
    arm, baseline = study
    estimate = quick(arm, baseline)
    scaled = quick({s: scale * x for s, x in arm.items()}, baseline)
    ends = (estimate.ratio, estimate.low, estimate.high)
    assert (scaled.ratio, scaled.low, scaled.high) == pytest.approx(
        [scale * x for x in ends], nan_ok=True, rel=1e-12
    )
    both = quick(
        {s: scale * x for s, x in arm.items()}, {s: scale * x for s, x in baseline.items()}
    )
    assert (both.ratio, both.low, both.high) == pytest.approx(ends, nan_ok=True, rel=1e-12)


@given(studies(), st.data())
def test_a_censored_run_never_makes_an_arm_faster(
    study: tuple[dict[int, float], ...], data: st.DataObject
) -> None:
    arm, baseline = study
    seed = data.draw(st.sampled_from(sorted(arm)))
    before, after = quick(arm, baseline), quick(arm | {seed: INF}, baseline)
    assert after.low >= before.low
    assert after.high >= before.high
    assert not after.ratio < before.ratio


@given(studies())
def test_exchanged_arms_have_the_inverse(study: tuple[dict[int, float], ...]) -> None:
    arm, baseline = study
    estimate, inverse = quick(arm, baseline), quick(baseline, arm)
    for end, other in ((estimate.low, inverse.high), (estimate.high, inverse.low)):
        assert end == pytest.approx(1 / other if other else INF)


@given(studies())
def test_an_arm_against_itself(study: tuple[dict[int, float], ...]) -> None:
    arm, _ = study
    estimate = quick(arm, arm)
    assert estimate.low <= 1 <= estimate.high
    assume(math.isfinite(estimate.ratio))
    assert estimate.ratio == 1
    if estimate.confidence is not None:
        words = verdict(estimate, 0, len(arm))
        assert words.startswith(("as fast as 1 GPU", "too close to call against 1 GPU"))


@given(studies(), st.randoms())
def test_the_order_of_seeds_does_not_matter(
    study: tuple[dict[int, float], ...], random: object
) -> None:
    arm, baseline = study
    shuffled = sorted(arm.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    # (repr: a ratio may be NaN.)
    assert repr(quick(dict(shuffled), baseline)) == repr(quick(arm, baseline))


def test_the_seed_of_the_bootstrap_hardly_matters() -> None:
    arm, baseline = numbered(*range(130, 150)), numbered(*range(118, 98, -1))
    ends = [paired_ratio(arm, baseline, seed=seed) for seed in range(5)]
    assert ends[0] == paired_ratio(arm, baseline)
    for a, b in itertools.pairwise(ends):
        assert (a.low, a.high) == pytest.approx((b.low, b.high), rel=0.02)


@pytest.mark.parametrize(
    ("arm", "baseline", "options", "match"),
    [
        ({1: 2.0}, {2: 2.0}, {}, "share no seed"),
        ({}, {}, {}, "share no seed"),
        ({1: math.nan}, {1: 2.0}, {}, "samples-to-target is"),
        ({1: 1.0}, {1: -2.0}, {}, "samples-to-target is"),
        ({1: 1.0}, {1: 2.0}, {"confidence": 1.0}, "confidence"),
        ({1: 1.0}, {1: 2.0}, {"confidence": 0.0}, "confidence"),
        ({1: 1.0}, {1: 2.0}, {"resamples": 0}, "resamples"),
    ],
)
def test_rejected(
    arm: dict[int, float], baseline: dict[int, float], options: dict[str, float], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        paired_ratio(arm, baseline, **options)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_coverage() -> None:
    for cell in grid():
        seen = simulate_ratio(cell, 1000)
        assert seen.covered >= 0.93, cell
        if cell.ratio == 1:
            assert seen.apart <= 0.07, cell
        if cell.ratio == 3:
            assert seen.apart >= 0.99, cell


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.15, 0.3])
def test_coverage_at_other_spreads(sigma: float) -> None:
    for cell in grid(sigma):
        if cell.n < 20 and cell.ratio == 1.3:
            assert simulate_ratio(cell, 1000).covered >= 0.93, cell


# Of 300 studies of an interval that covers 95%, fewer than 273 cover with a chance of 0.1%.
@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 10])
@pytest.mark.parametrize("censored", [0.0, 0.3])
def test_coverage_of_the_median_in_few_studies(n: int, censored: float) -> None:
    assert simulate_median(Cell(n, censored, 0.0, 1.0), 300).covered >= 0.91
