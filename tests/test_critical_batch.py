"""The critical batch from points: golden values, what changes nothing, and what is refused."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsscale.critical_batch import Curve, Point, Scaling, choice_variance, scaling, with_limits

DATA = Path(__file__).parent / "data"
BATCHES = [128 * 2**k for k in range(7)]


def published(name: str) -> list[Point]:
    with (DATA / f"rcp_{name}.csv").open() as file:
        return [
            Point(float(row["batch"]), float(row["samples"]), None, int(row["seed"]))
            for row in csv.DictReader(file)
        ]


def planted(
    samples: Callable[[float], float],
    seeds: int = 4,
    noise: float = 0.05,
    batches: list[int] = BATCHES,
    budget: float | None = None,
) -> list[Point]:
    """A curve with log-normal noise; runs above the budget are censored."""
    rng = np.random.default_rng(0)
    made = []
    for batch in batches:
        for seed in range(seeds):
            value = samples(batch) * math.exp(rng.normal(0, noise))
            missed = budget is not None and value > budget
            made.append(Point(batch, None if missed else value, budget, seed))
    return made


def critical(found: Scaling) -> float:
    assert found.reason is None and found.fit is not None
    return found.fit.curve.critical_batch


@pytest.mark.parametrize(
    ("name", "expected"), [("dlrmv4", 31_100), ("dlrm", 247_000), ("resnet", 46_900)]
)
def test_published_tables(name: str, expected: float) -> None:
    found = scaling(published(name))
    assert critical(found) == pytest.approx(expected, rel=0.05)
    assert found.fit is not None
    assert found.fit.interval[0] < expected < found.fit.interval[1]


def test_golden_values() -> None:
    found = scaling(published("resnet"))
    assert found.fit is not None and found.exponent is not None
    assert found.fit.curve.critical_batch == pytest.approx(47_011.1, rel=1e-5)
    assert found.fit.curve.min_samples == pytest.approx(34.6675, rel=1e-5)
    assert found.fit.interval == pytest.approx((42_172.6, 52_637.7), rel=1e-5)
    # Its batches lie beside the curve by more than their seeds explain, and the exponent shows it.
    assert found.fit.noise.between == pytest.approx(0.03396, rel=1e-3)
    assert found.fit.noise.between > found.fit.noise.sigma
    assert found.exponent.value == pytest.approx(1.183, rel=1e-3)


def test_a_curve_without_noise_is_found_exactly() -> None:
    found = scaling([Point(b, 196_000 * (1 + b / 1929)) for b in BATCHES])
    assert critical(found) == pytest.approx(1929, rel=1e-5)
    assert found.fit is not None and found.exponent is not None
    assert found.fit.curve.min_samples == pytest.approx(196_000, rel=1e-5)
    assert found.exponent.value == pytest.approx(1, abs=1e-3)


def test_the_curve() -> None:
    curve = Curve(200_000.0, 2_000.0)
    assert curve.samples([2_000, 0.001]) == pytest.approx([400_000, 200_000])
    assert curve.min_steps == 100
    assert [curve.batch_at(more) for more in (0.1, 0.2, 0.5)] == [200, 400, 1000]
    for more in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="not more"):
            curve.batch_at(more)


def curve_of(batch: float) -> float:
    return 196_000 * (1 + batch / 1929)


@settings(max_examples=8)
@given(
    unit=st.floats(1e-6, 1e6), size=st.floats(1e-3, 1e3), order=st.randoms(use_true_random=False)
)
def test_units_and_order_change_nothing(unit: float, size: float, order: object) -> None:
    points = planted(curve_of, budget=900_000)
    found = scaling(points)
    other = [
        Point(
            p.batch * size,
            None if p.samples is None else p.samples * unit,
            None if p.budget is None else p.budget * unit,
            p.seed,
        )
        for p in points
    ]
    order.shuffle(other)  # type: ignore[attr-defined]
    same = scaling(other)
    assert critical(same) == pytest.approx(critical(found) * size, rel=1e-4)
    assert found.fit is not None and same.fit is not None
    assert same.fit.interval == pytest.approx([end * size for end in found.fit.interval], rel=1e-4)
    assert same.fit.curve.min_samples == pytest.approx(found.fit.curve.min_samples * unit, rel=1e-4)


def test_censored_runs_are_inequalities() -> None:
    """At the largest batch two of three runs are cut off: left out, the batch looks cheaper."""
    points = planted(curve_of, seeds=6, noise=0.1, budget=curve_of(BATCHES[-1]) * 0.96)
    cut = [point for point in points if point.samples is None]
    assert {point.batch for point in cut} == {BATCHES[-1]} and len(cut) == 4
    whole = scaling(planted(curve_of, seeds=6, noise=0.1))
    left_out = scaling([point for point in points if point.samples is not None])
    assert critical(scaling(points)) < critical(left_out)
    assert critical(scaling(points)) == pytest.approx(critical(whole), rel=0.05)


def test_a_batch_that_no_run_reached_bounds_the_curve() -> None:
    cheap = planted(curve_of, batches=BATCHES[:4])
    beyond = [Point(BATCHES[-1], None, 1_300_000.0, seed) for seed in range(4)]
    assert critical(scaling([*cheap, *beyond])) < critical(scaling(cheap))
    # A bound that the curve fulfils anyway says nothing.
    easy = [Point(BATCHES[-1], None, 100_000.0, seed) for seed in range(4)]
    assert critical(scaling([*cheap, *easy])) == pytest.approx(critical(scaling(cheap)), rel=1e-6)


def test_limits_of_censored_points_without_budgets() -> None:
    points = [Point(2, None), Point(1, 5.0), Point(2, 7.0), Point(1, 6.0), Point(4, None)]
    found, filled = with_limits([*points, Point(4, None, 3.0)])
    assert filled == 2
    assert [(p.batch, p.samples, p.budget) for p in found] == [
        (1, 5.0, None), (1, 6.0, None), (2, None, 7.0), (2, 7.0, None), (4, None, 7.0),
        (4, None, 3.0),
    ]  # fmt: skip
    assert with_limits([Point(1, None)]) == ([Point(1, None)], 0)


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (lambda batch: 196_000.0, "hardly grow"),
        (lambda batch: 196_000 * (1 + batch / (100 * BATCHES[-1])), "hardly grow"),
        (lambda batch: 100.0 * batch, "in proportion"),
        (lambda batch: 3_000.0 * math.sqrt(batch), "power of the batch, 0.5|exponent of 0.5"),
        (lambda batch: 2e5 * (1 + (math.log2(batch / 1024)) ** 2 / 4), "do not follow"),
        (lambda batch: 1e6 / math.sqrt(batch), "do not follow"),
    ],
    ids=["flat", "beyond", "proportional", "power", "u-shaped", "falling"],
)
def test_what_does_not_identify_it(samples: Callable[[float], float], says: str) -> None:
    found = scaling(planted(samples))
    assert not found.identified
    assert found.reason is not None and re.search(says, found.reason)
    assert found.reason[0].isupper() and found.reason.endswith(".")


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ([Point(128, 5.0), Point(128, 6.0)], "Only 1 batch has"),
        ([Point(128, 5.0), Point(256, 6.0), Point(512, None)], "Only 2 batches have .*of 3"),
        ([Point(128, None), Point(512, None, 9.0)], "known but that it costs more"),
        ([Point(128, None), Point(256, None)], "None of the 2 runs .* nothing is known.$"),
        ([], "None of the 0 runs"),
        ([Point(1, 5.0), Point(2, 9.0), Point(4, 4.0)], "too few or too noisy|hardly grow"),
    ],
)  # fmt: skip
def test_too_few_points(points: list[Point], says: str) -> None:
    reason = scaling(points).reason
    assert reason is not None
    assert re.search(says, reason)


def test_the_best_rate_at_an_end_of_its_grid_identifies_nothing() -> None:
    points = planted(curve_of)
    assert scaling(points).identified
    reason = scaling(points, edges=[8192]).reason
    assert reason is not None and "batch 8,192 the best rate is at an end" in reason


def test_predictions_are_wider_than_the_band() -> None:
    found = scaling(planted(curve_of))
    assert found.fit is not None
    low, high = found.fit.band([128, 16_384])
    least, most = found.fit.predicted([128, 16_384], runs=4)
    middle = found.fit.curve.samples([128, 16_384])
    assert (least < low).all() and (low < middle).all()
    assert (middle < high).all() and (high < most).all()
    wider = found.fit.predicted([128], runs=1)
    assert wider[0] < least[0] and wider[1] > most[0]


def test_the_choice_of_a_rate_adds_its_own_error() -> None:
    # Two rates that the runs do not tell apart: either could have been chosen.
    close = {0.1: [100.0, 110.0], 0.2: [104.0, 112.0], 0.4: [400.0, 410.0]}
    assert 0 < choice_variance(close) < math.log(1.1) ** 2
    # A rate that is far better is always chosen; a rate with a censored run never is.
    assert choice_variance({0.1: [100.0, 101.0], 0.2: [200.0, 201.0]}) == 0
    assert choice_variance({0.1: [100.0, 110.0], 0.2: [100.0, math.inf]}) == 0
    assert choice_variance({0.1: [100.0], 0.2: [101.0]}) == 0
    points = planted(curve_of, noise=0.02)
    plain, wider = scaling(points), scaling(points, shared=dict.fromkeys(BATCHES, 0.03**2))
    assert plain.fit is not None and wider.fit is not None
    assert wider.fit.interval[0] < plain.fit.interval[0]
    assert wider.fit.interval[1] > plain.fit.interval[1]
