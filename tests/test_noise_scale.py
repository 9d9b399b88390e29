"""The gradient noise scale: its formulas, its interval, and when a run measures it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bsscale.cli.tasks.range_test import RangeTestTask
from bsscale.cli.tasks.task import refuse_replaced
from bsscale.critical_batch.noise_scale import Moments, moments, noise_scale
from bsscale.errors import ConfigError
from bsscale.planning.description import describe_plan
from bsscale.planning.noise_scale import MICRO_BATCHES, Passes, measured_steps
from bsscale.records.evaluation import read_evals
from bsscale.records.identity import arm_hash
from bsscale.records.run_record import read_run
from bsscale.training.result import describe_result
from bsscale.training.run import run
from bsscale.training.spec import RunSpec
from tests.helpers import prepare, small_config


def test_the_formulas() -> None:
    # |G|² = (B |G_B|² − b |G_b|²) / (B − b); tr Σ = (|G_b|² − |G_B|²) / (1/b − 1/B)
    found = moments(5.0, 1.5, 128, 1024)
    assert found.squared_gradient == pytest.approx((1024 * 1.5 - 128 * 5.0) / 896)
    assert found.trace == pytest.approx(3.5 / (1 / 128 - 1 / 1024))
    # They invert the expected norms exactly.
    squared, trace = 0.25, 300.0
    exact = moments(squared + trace / 16, squared + trace / 64, 16, 64)
    assert (exact.squared_gradient, exact.trace) == pytest.approx((squared, trace))


@pytest.mark.parametrize(
    ("small", "large"), [(128, 128), (128, 64), (0, 8), (-1, 8), (8, math.inf)]
)
def test_two_batches_are_needed(small: float, large: float) -> None:
    with pytest.raises(ValueError, match="the second is larger"):
        moments(1.0, 0.5, small, large)


def test_averages_come_before_the_ratio() -> None:
    windows = [Moments(1.0, 100.0), Moments(3.0, 100.0), Moments(-1.0, 100.0), Moments(1.0, 100.0)]
    found = noise_scale(windows)
    assert found.samples == 100.0
    # The mean of 1 is not further from 0 than t = 7.0 times its standard error.
    assert found.interval is not None
    assert found.interval[1] == math.inf
    assert found.note == "only 4 windows: from 10 on, the interval can be relied on"


def test_the_interval_of_equal_traces_is_that_of_the_gradient() -> None:
    squared = [1.0, 1.2, 0.9, 1.1, 1.0, 0.8, 1.1, 0.9, 1.2, 1.0, 0.9, 1.1]
    found = noise_scale([Moments(each, 50.0) for each in squared])
    n, mean = len(squared), float(np.mean(squared))
    error = math.sqrt(float(np.sum(np.diff(squared) ** 2)) / (2 * (n - 1) * n))
    t = 2.676231  # Student's, 98%, 11 / 2 degrees of freedom
    assert found.interval is not None
    low, high = found.interval
    # With a constant tr Σ, Fieller's ends are tr Σ over the ends of the mean of |G|².
    assert low == pytest.approx(50 / (mean + t * error), rel=1e-5)
    assert high == pytest.approx(50 / (mean - t * error), rel=1e-5)
    assert found.note is None
    assert found.windows == n


@pytest.mark.parametrize("windows", [3, 4, 10, 50, 5000])
def test_students_t_is_scipys(windows: int) -> None:
    # Only tr Σ varies: it is 1 in the first window and 0 in the others.
    found = noise_scale([Moments(1e9, 1.0), *[Moments(1e9, 0.0)] * (windows - 1)])
    assert found.interval is not None
    mean, error = 1 / windows, math.sqrt(1 / (2 * (windows - 1) * windows))
    high = (mean + stats.t.ppf(0.98, (windows - 1) / 2) * error) / 1e9
    assert found.interval[1] == pytest.approx(high, rel=3e-3 if windows > 1000 else 1e-5)


def test_a_trend_is_no_error() -> None:
    steady = [Moments(1.0, 100.0 + each) for each in np.linspace(-50, 50, 40)]
    found = noise_scale(steady)
    assert found.interval is not None
    assert found.interval[0] > 97
    assert found.interval[1] < 103


def test_noise_alone_has_no_scale() -> None:
    windows = [Moments(each, 10.0) for each in (1.0, -1.0) * 6]
    found = noise_scale(windows)
    assert found.samples is None
    assert found.note == "the windows do not tell the gradient from its noise"
    assert found.interval is not None
    assert 0 < found.interval[0] < math.inf == found.interval[1]
    assert noise_scale([]).samples is None
    assert noise_scale(windows[:2]).interval is None


def test_the_interval_of_normal_gradients_holds_the_truth() -> None:
    # A few studies of tests/benchmarks/simulate_noise_scale.py
    rng, dimensions, micro_batch, covered = np.random.default_rng(0), 20, 128, 0
    truth = 500.0
    for _ in range(200):
        shape = (20, 8, dimensions)
        deviation = math.sqrt(truth / micro_batch / dimensions)
        gradients = 1 / math.sqrt(dimensions) + deviation * rng.standard_normal(shape)
        small = (gradients**2).sum(axis=2).mean(axis=1)
        large = (gradients.mean(axis=1) ** 2).sum(axis=1)
        pairs = zip(small, large, strict=True)
        found = noise_scale([moments(s, b, micro_batch, 8 * micro_batch) for s, b in pairs])
        assert found.interval is not None
        covered += found.interval[0] <= truth <= found.interval[1]
    assert covered >= 186  # 93%


@pytest.mark.parametrize("micro_batches", [300, 399, 400, 2048, 10_000, 16_384, 10**7])
@pytest.mark.parametrize("gpus", [1, 8, 64])
def test_at_most_50_windows_and_4_per_cent(micro_batches: int, gpus: int) -> None:
    steps = -(-micro_batches // gpus)
    found = measured_steps(micro_batches * 128, 128, steps, Passes(1, gpus * 128, layers=True))
    assert 1 <= len(found) <= 50
    assert MICRO_BATCHES * len(found) <= 0.04 * micro_batches
    more = MICRO_BATCHES * (len(found) + 1) > 0.04 * micro_batches
    # A window costs as much as 1.6 x 1,024 samples of a large batch, and at most 5% in all.
    more |= 1.6 * 1024 * (len(found) + 1) > 0.05 * steps * (200 + gpus * 128)
    assert more or len(found) in (50, steps)
    assert 1.6 * 1024 * len(found) <= 0.05 * steps * (200 + gpus * 128)
    assert sorted(set(found)) == list(found)
    assert 0 <= found[0] <= found[-1] < steps
    # They are spread evenly: neighbours are as far apart, and the ends half as far from the edges.
    gaps = np.diff([-found[0], *found, 2 * steps - found[-1]])
    assert np.ptp(gaps) <= 2


def test_a_budget_without_room_is_refused() -> None:
    alone = Passes(1, 32, layers=True)
    measured_steps(200 * 32, 32, 200, alone)
    with pytest.raises(ConfigError, match=r"6,399 samples in 200 updates.*too much") as error:
        measured_steps(200 * 32 - 1, 32, 200, alone)
    assert "budget_samples=6400" in str(error.value)
    with pytest.raises(ConfigError, match="noise_scale=true"):
        prepare(small_config(noise_scale=True, budget_samples=2048, eval_interval_samples=1024))


@pytest.mark.parametrize(
    ("passes", "steps", "windows"),
    [
        # 8 passes of 256 + 128 samples for a window, and one of 256 + 128 for an update.
        (Passes(1, 128), 2048, 10),
        # The passes of an update of 64 replicas are 2.9 times as cheap: 256 + 8,192 samples.
        (Passes(1, 64 * 128), 256, 35),
        # Eight ranks make one pass each, and add their sums.
        (Passes(1, 128, processes=8), 1000, 25),
        (Passes(1, 128, processes=64), 1000, 25),
    ],
)
def test_passes_that_cost_more_than_their_samples_make_fewer_windows(
    passes: Passes, steps: int, windows: int
) -> None:
    replicas = passes.of_update * passes.samples * passes.processes // 128
    budget = steps * replicas * 128
    assert len(measured_steps(budget, 128, steps, passes)) == windows
    with pytest.raises(ConfigError, match="noise_scale=true") as error:
        measured_steps(budget // steps * 5, 128, 5, passes)
    least = int(str(error.value).partition("budget_samples=")[2].partition(")")[0])
    assert len(measured_steps(least, 128, least * steps // budget, passes)) == 1
    with pytest.raises(ConfigError, match="noise_scale=true"):
        measured_steps(least - replicas * 128, 128, least * steps // budget - 1, passes)


def test_it_is_no_part_of_an_arm_or_a_checkpoint() -> None:
    off, _ = prepare(small_config())
    on, _ = prepare(small_config(noise_scale=True))
    assert on.training == off.training
    assert arm_hash({"noise_scale": True, "gpus": 1}) == arm_hash({"noise_scale": False, "gpus": 1})
    assert off.noise_scale_steps == ()
    assert off.next_noise_scale(0) is None
    assert on.noise_scale_steps == (106, 320, 533)
    assert [on.next_noise_scale(step) for step in (0, 106, 107, 534)] == [106, 106, 320, None]


def test_a_run_measures_records_and_says_it(tmp_path: Path) -> None:
    plan, dataset = prepare(small_config(noise_scale=True))
    described = describe_plan(plan, dataset, "an arm")
    assert "noise scale  3 windows of 8 x 32 samples, from step 106 to 533: 3.8% more" in described
    made = run(RunSpec(plan, tmp_path / "run", "an arm"), dataset)
    record = read_run(tmp_path / "run")
    assert made == record
    assert record.noise_scale_windows == 3
    assert record.noise_scale_note == "only 3 windows: from 10 on, the interval can be relied on"
    assert record.noise_scale_groups is not None
    assert record.noise_scale_groups.keys() == {"dense", "embeddings"}
    assert record.noise_scale_group_intervals is not None
    assert record.noise_scale is not None and record.noise_scale_interval is not None
    said = describe_result(record, tmp_path)
    assert f"noise scale  {record.noise_scale:,.0f} samples (" in said
    assert "; only 3 windows" in said
    measured = [point.noise_scale for point in read_evals(tmp_path / "run")]
    assert [value is not None for value in measured].count(True) >= 2
    # Without the measurement, the same directory holds the same run.
    again, _ = prepare(small_config())
    assert run(RunSpec(again, tmp_path / "run", "an arm"), dataset) == record
    assert "noise scale" not in describe_plan(again, dataset, "an arm")


def test_a_range_test_does_not_measure() -> None:
    with pytest.raises(ConfigError, match="noise_scale=true does nothing with task=range_test"):
        refuse_replaced(RangeTestTask(), "range_test", ["noise_scale=true"])
