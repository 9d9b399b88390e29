"""The median rule stops hopeless runs of a search, and no decision depends on `workers`."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from bsscale.cli.jobs import Job
from bsscale.errors import ConfigError
from bsscale.objectives.metric import Criterion
from bsscale.objectives.reported import NonFiniteDetector
from bsscale.planning.devices import Devices
from bsscale.records.evaluation import EvalPoint
from bsscale.records.run_record import RunRecord
from bsscale.stats.median_rule import bar_at, median_bar
from bsscale.stats.search import Rules, Search
from bsscale.study.description import describe_study
from bsscale.study.plan import check_study
from bsscale.study.tuning import Tuner
from bsscale.training.trajectory import Trajectory
from tests.bridge.scripts import python, spec, train
from tests.bridge.small_studies import DATASET, WORDS, a_script, carried_out
from tests.composing import composed, hydra
from tests.conftest import python_path
from tests.helpers import SMALL_STUDY
from tests.test_tuning import JUDGE, Made, Trained, rate_of, tuning

__all__ = ["hydra"]  # (a fixture)

CURVES = [
    [(100, 0.5), (200, 0.7), (300, 0.8), (400, 0.8)],
    [(100, 0.5), (200, 0.6), (300, 0.6)],
    [(100, None), (200, 0.8)],
]


def test_the_bar_is_the_median_of_running_means() -> None:
    # A quarter of 800 is 200. Means up to 200: 0.6, 0.55, 0.8; to 300: 0.6667, 0.5667, 0.8.
    bar = median_bar(CURVES, 800)
    assert [at for at, _ in bar] == [200, 300, 400]
    assert [value for _, value in bar] == pytest.approx([0.6, 2 / 3, 0.7])
    assert median_bar(CURVES, 801)[0][0] == 300
    assert median_bar(CURVES[:2], 800) == () and median_bar([], 800) == ()
    # Two runs have a value after 100 samples: too few.
    assert median_bar(CURVES, 0)[0][0] == 200
    assert bar_at(bar, 199) is None
    assert bar_at(bar, 299) == pytest.approx(0.6) and bar_at(bar, 9999) == pytest.approx(0.7)


def trajectory(direction: str, target: float | None = None) -> Trajectory:
    criterion = Criterion("m", "max" if direction == "max" else "min")
    bar = ((200, 0.6), (300, 0.7)) if direction == "max" else ((200, 0.4), (300, 0.3))
    detector = NonFiniteDetector(["m"])
    return Trajectory(criterion, target, detector, 100, True, of_script=True, bar=bar)


@pytest.mark.parametrize(
    ("direction", "values", "stopped_at"),
    [
        ("max", [0.1, 0.6, 0.7, 0.7], None),  # equal is not worse
        ("max", [0.1, 0.59], 200),
        ("max", [0.65, 0.1, 0.69], 300),  # its best so far counts
        ("min", [0.9, 0.4, 0.3, 0.3], None),
        ("min", [0.9, 0.41], 200),
    ],
)
def test_a_run_below_the_bar_is_stopped(
    direction: str, values: list[float], stopped_at: int | None
) -> None:
    run = trajectory(direction)
    for number, value in enumerate(values, start=1):
        assert run.status is None
        run.add(EvalPoint(number, 100 * number, {"m": value}, None, None, None, None))
    assert run.status == (None if stopped_at is None else "exhausted")
    if stopped_at is not None:
        assert f"stopped by the median rule after {stopped_at} samples: its best m is" in run.reason


def test_a_hit_that_waits_for_its_confirmation_is_not_stopped() -> None:
    run = trajectory("max", target=0.55)
    run.add(EvalPoint(1, 200, {"m": 0.55}, None, None, None, None))
    assert run.status is None
    run.add(EvalPoint(2, 300, {"m": 0.56}, None, None, None, None))
    assert run.status == "reached"


def test_the_grid_is_tried_in_two_rounds() -> None:
    search = Search(Rules(trials=5, seeds=2, finalist_seeds=2, grid_rounds=2), 0.01, 100)
    assert search.ask() == {0.01: 2, 1.0: 2, 100.0: 2}
    from tests.test_search import trial

    search.tell([trial(rate, (0.8, None)) for rate in (0.01, 1.0, 100.0)])
    assert search.ask() == {0.1: 2, 10.0: 2}
    search.tell([trial(rate, (0.9 - rate / 100, None)) for rate in (0.1, 10.0)])
    assert search.ask() == {0.0215: 2, 0.0464: 2, 0.215: 2, 0.464: 2}  # (next to 0.1)


def test_a_round_is_compared_with_the_rounds_before_it(tmp_path: Path) -> None:
    runs = Trained(lambda spec: [0.5, 0.9 - abs(math.log(rate_of(spec) / 0.4)) / 10] * 2)
    bars: list[tuple[float, object]] = []
    whole = runs.train

    def remembering(specs: list[dataclasses.Field]) -> list[RunRecord | None]:  # type: ignore[type-arg]
        bars.extend((rate_of(each), each.bar) for each in specs)  # type: ignore[arg-type,attr-defined]
        return whole(specs)  # type: ignore[arg-type]

    runs.train = remembering  # type: ignore[assignment,method-assign]
    made = Tuner(runs, Made(tmp_path), [7, 8], JUDGE, stops_hopeless=True)  # type: ignore[arg-type]
    rules = Rules(trials=5, seeds=1, finalist_seeds=1, gap=2.1, extensions=0, grid_rounds=2)
    made.carry_out([tuning("a", rules, 0.1, 1.6)])
    assert [rate for rate, _ in bars] == [0.1, 0.4, 1.6, 0.2, 0.8]
    assert [bar for _, bar in bars[:3]] == [(), (), ()]
    # From a quarter of 1,000 samples on: the median, that of 0.1 and 1.6, over 0, 100, 200, 300.
    worse = 0.9 - math.log(4) / 10
    assert bars[3][1] == bars[4][1] == ((300, pytest.approx((0.5 + worse) / 2)),)


def test_a_script_is_told_that_its_run_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", python_path())
    text = """
from bsscale.bridge import join
run = join()
for samples in range(200, 2001, 200):
    if run.report(samples, auc=0.6):
        print("told", run.status, samples)
        break
"""
    one = dataclasses.replace(spec(tmp_path / "run", python(text), {}), bar=((600, 0.61),))
    [record] = train([one])
    assert isinstance(record, RunRecord)
    assert (record.status, record.samples_seen, record.budget_samples) == ("exhausted", 600, 2000)
    assert record.reason == (
        "stopped by the median rule after 600 samples: its best AUC is 0.6, and the median of the "
        "runs before it was 0.61"
    )
    assert (tmp_path / "run" / "stdout.log").read_text() == "told exhausted 600\n"


@pytest.mark.usefixtures("hydra")
def test_it_is_registered_and_in_the_plan_and_only_for_scripts() -> None:
    words = (*WORDS, 'trainer.command="true"', "trainer.search_range=[0.01,1]")
    config = Job(composed(*words), None).config
    assert "hopeless runs are stopped by the median rule" in describe_study(
        config, DATASET, Devices(0)
    )
    off = Job(composed(*words, "task.stop_hopeless=false"), None).config
    assert "median rule" not in describe_study(off, DATASET, Devices(0))
    job = Job(composed(*SMALL_STUDY, "task.stop_hopeless=true"), None)
    with pytest.raises(ConfigError, match="its runs share their steps"):
        check_study(job.config, job.dataset, Devices(0))


@pytest.mark.slow
@pytest.mark.usefixtures("hydra")
def test_a_study_stops_the_same_runs_whatever_workers_is(tmp_path: Path) -> None:
    found = []
    for workers in (1, 3):
        directory = tmp_path / str(workers)
        directory.mkdir()
        words = (
            a_script(tmp_path), "trainer.search_range=[0.005,2]", f"workers={workers}",
            "+task.arms.tuned={schedule:fixed,rate:tuned}", "task.trials=6", "task.target_seeds=2",
            "task.tuning_seeds=1", "task.finalist_seeds=1",
        )  # fmt: skip
        record = carried_out(directory, words)
        assert record.registered.options["search"]["grid_rounds"] == 2
        assert record.registered.options["search"]["hopeless"].startswith("median rule: ")
        reasons = {
            str(path.relative_to(directory)): json.loads(path.read_text())["reason"]
            for path in sorted(directory.rglob("run.json"))
        }
        stopped = [path for path, why in reasons.items() if why.startswith("stopped by the median")]
        assert len(stopped) >= 2 and all("/tuning/" in path for path in stopped)
        found.append((reasons, record.base_lr, record.target, record.budget_samples))
    assert found[0] == found[1]
