"""Censored medians, spreads and ratios."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsscale.stats import Spread, censored_median, ratio, spread

INF = math.inf

runs = st.lists(st.integers(0, 10**9).map(float) | st.just(INF), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("values", "median"),
    [
        ([5.0], 5.0),
        ([INF], INF),
        ([3.0, 1.0, 2.0], 2.0),
        ([INF, 1.0, 2.0], 2.0),
        ([INF, 1.0, INF], INF),
        ([1.0, 2.0, 3.0, 4.0], 2.5),
        ([1.0, 2.0, 3.0, INF], 2.5),
        # The median lies between 2 and "never": it was not reached.
        ([1.0, 2.0, INF, INF], INF),
    ],
)
def test_censored_median(values: list[float], median: float) -> None:
    assert censored_median(values) == median


@given(runs)
def test_a_median_is_finite_when_more_than_half_reached(values: list[float]) -> None:
    reached = sum(value < INF for value in values)
    assert math.isfinite(censored_median(values)) == (2 * reached > len(values))


@given(runs)
def test_a_slower_run_never_lowers_the_median(values: list[float]) -> None:
    assert censored_median([INF, *values[1:]]) >= censored_median(values)


def test_spread() -> None:
    assert spread([300, INF, 100]) == Spread(n=3, reached=2, median=300.0, low=100.0, high=INF)
    assert spread([3, 1, 2, 10]) == Spread(n=4, reached=4, median=2.5, low=1.0, high=10.0)
    assert spread(iter([7])) == Spread(n=1, reached=1, median=7.0, low=7.0, high=7.0)
    assert spread([INF, INF]) == Spread(n=2, reached=0, median=INF, low=INF, high=INF)


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.nan, INF], [-1.0], [-INF, 1.0]])
def test_rejected_values(values: list[float]) -> None:
    for function in (spread, censored_median):
        with pytest.raises(ValueError, match=r"no runs|samples-to-target is"):
            function(values)


@pytest.mark.parametrize(
    ("value", "reference", "expected"),
    [
        (500.0, 100.0, 5.0),
        (100.0, 100.0, 1.0),
        (INF, 100.0, INF),
        (100.0, INF, 0.0),
        (INF, INF, math.nan),
        (0.0, 0.0, math.nan),
        (1.0, 0.0, INF),
        (0.0, 1.0, 0.0),
    ],
)
def test_ratio(value: float, reference: float, expected: float) -> None:
    assert ratio(value, reference) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("value", "reference"), [(math.nan, 1.0), (1.0, math.nan), (-1.0, 1.0)])
def test_rejected_ratios(value: float, reference: float) -> None:
    with pytest.raises(ValueError, match="samples-to-target is"):
        ratio(value, reference)
