"""How many seeds it takes, held against simulated studies of so many seeds."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsscale.stats import paired_ratio, required_seeds
from tests.benchmarks.simulate_statistics import Cell, draw_studies, simulate_ratio

INF = math.inf


def seeds(study: NDArray[np.float64], **options: float) -> int | None:
    arm, baseline = (dict(enumerate(samples.tolist())) for samples in study)
    return required_seeds(arm, baseline, **options)  # type: ignore[arg-type]


def restated(
    a: Sequence[float], b: Sequence[float], confidence: float = 0.95, power: float = 0.8
) -> int:
    """The formula of `required_seeds`, from its docstring alone."""

    def sigma(runs: Sequence[float]) -> float:
        # The slope of the logs over normal scores at Blom's (rank - 3/8) / (n + 1/4).
        finite = [x for x in sorted(runs) if x < INF]
        places = [(rank - 3 / 8) / (len(runs) + 1 / 4) for rank in range(1, len(finite) + 1)]
        scores = [statistics.NormalDist().inv_cdf(place) for place in places]
        return statistics.linear_regression(scores, [math.log(x) for x in finite]).slope

    pairs = list(itertools.combinations(zip(a, b, strict=True), 2))
    signs = [((x > u) - (x < u)) * ((y > v) - (y < v)) for (x, y), (u, v) in pairs]
    tau = sum(signs) / len(pairs)
    s, t = sigma(a), sigma(b)
    variance = math.pi / 2 * (s * s + t * t - 2 * tau * s * t)
    delta = math.log(statistics.median(a) / statistics.median(b))
    quantile = statistics.NormalDist().inv_cdf(power)
    for n in itertools.count(6):
        student = float(scipy.stats.t.ppf(1 - (1 - confidence) / 2, n - 1))
        if n >= (student + quantile) ** 2 / delta**2 * variance:
            return n
    raise AssertionError


def test_the_number_by_hand() -> None:
    # The logs are 0, 1/2, 1 and 0.4, 0.8, 1.2 in the same order, and Blom's scores of three runs
    # are -0.8694, 0 and 0.8694. The slopes are 0.5751 and 0.4601; tau is 1; the variance is
    # pi/2 (0.5751 - 0.4601)^2 = 0.02077; the log ratio of medians is 0.5 - 0.8 = -0.3, so that n
    # is at least (t + z)^2 0.2308. With 6 seeds that is (2.571 + 0.842)^2 0.2308 = 2.7: 6 are
    # enough.
    a, b = ({s: math.exp(x) for s, x in enumerate(logs)} for logs in ((0, 0.5, 1), (0.4, 0.8, 1.2)))
    assert required_seeds(a, b) == 6
    # The other way round, tau is -1: pi/2 (0.5751 + 0.4601)^2 = 1.6833, over 0.09 is 18.70. With
    # 149 seeds it takes 18.70 (1.976 + 0.842)^2 = 148.5 of them, with 148 still 148.5.
    b = {s: b[2 - s] for s in range(3)}
    assert required_seeds(a, b) == 149
    # The limit is a number of seeds that still counts.
    assert required_seeds(a, b, most=149) == 149
    assert required_seeds(a, b, most=148) is None


@pytest.mark.parametrize("cell", [Cell(7, 0.0, 0.0, 1.2), Cell(9, 0.3, 0.7, 1.3)], ids=str)
def test_the_number_is_that_of_the_formula(cell: Cell) -> None:
    for study in draw_studies(cell, 25, seed=2):
        a, b = study.tolist()
        if INF in (statistics.median(a), statistics.median(b)):
            continue
        number = restated(a, b)
        assert seeds(study) == (number if number <= 1000 else None)
        number = restated(a, b, confidence=0.9, power=0.6)
        assert seeds(study, confidence=0.9, power=0.6) == (number if number <= 1000 else None)


# (What matters of these is all but their n.)
CELLS = [
    Cell(6, 0.0, 0.0, 1.3, 0.2),
    Cell(6, 0.0, 0.7, 1.3, 0.3),
    Cell(6, 0.3, 0.0, 1.2, 0.15),
    Cell(6, 0.3, 0.7, 1.3, 0.3),
]


def of(cell: Cell, n: int) -> Cell:
    return replace(cell, n=n)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_so_many_seeds_have_the_power(cell: Cell) -> None:
    # From many seeds, so that the formula is judged and not the luck of a pilot study.
    n = seeds(next(draw_studies(of(cell, 2001), 1)))
    assert n is not None
    # The number that has a power of 80% is within a factor of 1.6 of it.
    assert simulate_ratio(of(cell, round(n / 1.6)), 150).apart < 0.8
    assert simulate_ratio(of(cell, round(n * 1.6)), 150).apart > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS[:2], ids=str)
def test_ten_seeds_give_the_number_within_a_factor_of_two(cell: Cell) -> None:
    n = seeds(next(draw_studies(of(cell, 2001), 1)))
    assert n is not None
    pilots = [seeds(study) or 1000 for study in draw_studies(of(cell, 10), 300, seed=1)]
    assert n / 1.5 <= statistics.median(pilots) <= 1.5 * n
    near = [n / 2 <= pilot <= 2 * n for pilot in pilots]
    assert statistics.mean(near) >= 0.5


def test_more_power_and_more_confidence_take_more_seeds() -> None:
    study = next(draw_studies(Cell(20, 0.0, 0.0, 1.2), 1))
    numbers = [
        seeds(study, power=0.5),
        seeds(study),
        seeds(study, power=0.95),
        seeds(study, power=0.95, confidence=0.999),
    ]
    found = [number for number in numbers if number is not None]
    assert len(found) == 4
    assert found == sorted(set(found))


def test_arms_without_spread_take_the_fewest() -> None:
    assert required_seeds(dict.fromkeys(range(4), 2.0), dict.fromkeys(range(4), 1.0)) == 6
    ratios = {s: 10.0 + s for s in range(9)}
    assert required_seeds(ratios, {s: 2 * x for s, x in ratios.items()}) == 6


def test_a_found_number_tells_the_arms_apart() -> None:
    cell = Cell(12, 0.0, 0.7, 3.0)
    arm, baseline = (dict(enumerate(x)) for x in next(draw_studies(cell, 1)))
    assert required_seeds(arm, baseline) == 6
    assert paired_ratio(arm, baseline).low > 1


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
        ([3.0, 2.0, 1.0], [1.0, 2.0, 3.0]),  # equal medians
        ([INF, INF, 3.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [INF, INF, 3.0]),
        ([INF, INF, INF], [INF, INF, INF]),
        ([0.0, 0.0, 3.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0], [2.0, 3.0]),
    ],
)
def test_nothing_can_be_said(a: list[float], b: list[float]) -> None:
    assert required_seeds(dict(enumerate(a)), dict(enumerate(b))) is None


def test_more_than_is_worth_a_number() -> None:
    a = {0: 100.0, 1: 150.0, 2: 90.0, 3: 120.0, 4: 80.0}
    b = {0: 120.0, 1: 85.0, 2: 101.0, 3: 140.0, 4: 70.0}
    assert required_seeds(a, b, most=100_000) is not None
    assert required_seeds(a, b) is None
    assert required_seeds(a, b, most=5) is None


runs = st.lists(st.tuples(*[st.floats(1, 1e6) | st.just(INF)] * 2), min_size=1, max_size=12)


@given(runs)
def test_the_arms_can_be_exchanged(pairs: list[tuple[float, float]]) -> None:
    a, b = ({i: pair[k] for i, pair in enumerate(pairs)} for k in (0, 1))
    number, other = required_seeds(a, b), required_seeds(b, a)
    assert number == other or (number is not None and other == pytest.approx(number, abs=1))
    assert number is None or 6 <= number <= 1000


@pytest.mark.parametrize(
    ("a", "b", "options", "match"),
    [
        ({1: 1.0}, {2: 1.0}, {}, "share no seed"),
        ({1: math.nan}, {1: 1.0}, {}, "samples-to-target is"),
        ({1: 1.0}, {1: 1.0}, {"power": 1.0}, "power"),
        ({1: 1.0}, {1: 1.0}, {"confidence": 1.5}, "confidence"),
    ],
)
def test_rejected(
    a: dict[int, float], b: dict[int, float], options: dict[str, float], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        required_seeds(a, b, **options)  # type: ignore[arg-type]
