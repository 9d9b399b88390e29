"""The Kaplan-Meier curve and its median."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsscale.stats import KaplanMeier, censored_median, kaplan_meier

INF = math.inf

# samples, runs that reached the target (in front), then (confidence, median, low, high) twice and
# the curve from its first step on. Computed once with lifelines 0.30.3 in an environment of its own
# (KaplanMeierFitter, median_survival_times of its confidence interval): lifelines needs pandas
# below 3, so it is not among this project's test requirements. No curve here passes through exactly
# one half, where lifelines takes the next step or this one, as the rounding falls.
LIFELINES = {
    "ties": (
        [300, 300, 400, 500, 500, 500, 600, 700, 700, 800, 900],
        11,
        [(0.95, 500.0, 300.0, 700.0), (0.8, 500.0, 500.0, 700.0)],
        {
            300: 0.818181818182,
            400: 0.727272727273,
            500: 0.454545454545,
            600: 0.363636363636,
            700: 0.181818181818,
            800: 0.090909090909,
            900: 0.0,
        },
    ),
    "one budget": (
        [310, 420, 505, 505, 640, 700, 820, 900, 1000, 1000, 1000],
        8,
        [(0.95, 700.0, 420.0, INF), (0.8, 700.0, 505.0, 900.0)],
        {
            310: 0.909090909091,
            420: 0.818181818182,
            505: 0.636363636364,
            640: 0.545454545455,
            700: 0.454545454545,
            820: 0.363636363636,
            900: 0.272727272727,
            1000: 0.272727272727,
        },
    ),
    "cut off on the way": (
        [50, 70, 80, 100, 110, 120, 140, 150, 60, 90, 130, 160],
        8,
        [(0.95, 120.0, 70.0, 150.0), (0.8, 120.0, 100.0, 140.0)],
        {
            50: 0.916666666667,
            60: 0.916666666667,
            70: 0.825,
            80: 0.733333333333,
            90: 0.733333333333,
            100: 0.628571428571,
            110: 0.52380952381,
            120: 0.419047619048,
            130: 0.419047619048,
            140: 0.279365079365,
            150: 0.139682539683,
            160: 0.139682539683,
        },
    ),
    "few reached": (
        [100, 200, 400, 400, 400, 400],
        2,
        [(0.95, INF, 100.0, INF), (0.8, INF, 200.0, INF)],
        {100: 0.833333333333, 200: 0.666666666667, 400: 0.666666666667},
    ),
    "none reached": ([400] * 7, 0, [(0.95, INF, INF, INF), (0.8, INF, INF, INF)], {400: 1.0}),
    "all at once": ([5] * 6, 6, [(0.95, 5.0, 5.0, 5.0), (0.8, 5.0, 5.0, 5.0)], {5: 0.0}),
    "seven": (
        [3, 1, 4, 1.5, 5.5, 9, 2.5],
        7,
        [(0.95, 3.0, 1.0, 5.5), (0.8, 3.0, 1.5, 5.5)],
        {
            1: 0.857142857143,
            1.5: 0.714285714286,
            2.5: 0.571428571429,
            3: 0.428571428571,
            4: 0.285714285714,
            5.5: 0.142857142857,
            9: 0.0,
        },
    ),
}


@pytest.mark.parametrize("name", LIFELINES)
def test_it_agrees_with_lifelines(name: str) -> None:
    samples, count, medians, curve = LIFELINES[name]
    reached = [i < count for i in range(len(samples))]
    for confidence, median, low, high in medians:
        result = kaplan_meier(samples, reached, confidence)
        assert (result.n, result.reached) == (len(samples), count)
        assert (result.median, result.low, result.high) == (median, low, high)
        assert result.confidence == confidence
        assert result.curve[0] == (0.0, 1.0)
        assert dict(result.curve[1:]) == pytest.approx(curve, abs=1e-11)


def test_a_curve_that_stays_at_one_half() -> None:
    assert kaplan_meier([1, 2, 3, 4, 5, 6], [True] * 6).median == 3.5
    # Half of the runs were not seen to get there: the median is beyond 3, nobody knows how far.
    assert kaplan_meier([1, 2, 3, 6, 6, 6], [True] * 3 + [False] * 3).median == INF


@pytest.mark.parametrize(
    ("count", "ends"),
    [(1, (0.0, INF)), (3, (0.0, INF)), (5, (0.0, INF)), (6, (1.0, 6.0)), (9, (1.0, 8.0))],
)
def test_few_runs_leave_the_interval_open(count: int, ends: tuple[float, float]) -> None:
    result = kaplan_meier(list(range(1, count + 1)), [True] * count)
    assert (result.low, result.high) == ends


def test_a_run_that_was_there_at_once() -> None:
    result = kaplan_meier([0.0, 8.0], [True, True])
    assert result.curve == ((0.0, 0.5), (8.0, 0.0))
    assert result.median == 4.0


runs = st.lists(st.integers(1, 1000).map(float) | st.just(INF), min_size=1, max_size=15)


def of_budget(values: list[float], budget: float = 1001.0) -> KaplanMeier:
    return kaplan_meier([min(x, budget) for x in values], [x < INF for x in values])


@given(runs)
def test_with_one_budget_it_is_the_censored_median(values: list[float]) -> None:
    result = of_budget(values)
    assert result.median == censored_median(values)
    assert result.low <= result.median <= result.high


@given(runs)
def test_the_curve_falls(values: list[float]) -> None:
    shares = [share for _, share in of_budget(values).curve]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(statistics.mean(x == INF for x in values))


@given(runs)
def test_the_order_of_runs_does_not_matter(values: list[float]) -> None:
    assert of_budget(values) == of_budget(values[::-1])


@pytest.mark.parametrize(
    ("samples", "reached", "confidence", "match"),
    [
        ([], [], 0.95, "no runs"),
        ([1.0, 2.0], [True], 0.95, "2 sample counts and 1 mark"),
        ([INF], [False], 0.95, "infinite"),
        ([-1.0], [True], 0.95, "samples-to-target is"),
        ([math.nan], [True], 0.95, "samples-to-target is"),
        ([1.0], [True], 1.0, "confidence"),
    ],
)
def test_rejected(samples: list[float], reached: list[bool], confidence: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        kaplan_meier(samples, reached, confidence)
