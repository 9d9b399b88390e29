"""task=scaling with training: the study that it is, its predictions, time and cost."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bsscale.critical_batch import Point, scaling
from bsscale.critical_batch.cost import costs
from bsscale.critical_batch.predictions import predict, score, smaller
from bsscale.errors import ConfigError
from bsscale.records.study_record import read_study
from bsscale.report.scaling.contents import ScalingContents
from bsscale.report.scaling.noise import noise_scales_table
from bsscale.report.scaling.tables import costs_table, predictions_table
from bsscale.report.scaling.words import duration, prediction_words
from bsscale.report.scaling.write import write_scaling
from bsscale.study.options import StudyOptions
from bsscale.study.scaling import PREDICTIONS
from bsscale.study.scaling_arms import study_of
from bsscale.study.scaling_options import ScalingOptions
from bsscale.study.throughput import read_throughput
from tests.conftest import Finished
from tests.helpers import small_config
from tests.test_critical_batch import BATCHES, curve_of, planted

Bsscale = Callable[..., Finished]
QUICK = (
    "task=scaling", "dataset=synthetic", "dataset.samples_per_pass=4000",
    "dataset.validation_samples=2000", "dataset.test_samples=500", "model=logistic",
    "micro_batch=8", "tracker=none", "target=0.66", "task.lowest_lr=0.03", "task.highest_lr=0.6",
    "task.seeds=2", "task.tuning_seeds=1", "task.finalist_seeds=1", "task.target_seeds=2",
    "task.trials=5", "task.directory=made",
)  # fmt: skip


def study(**options: Any) -> StudyOptions:
    task = study_of(small_config(task=ScalingOptions(**options), base_lr=None)).task
    assert isinstance(task, StudyOptions)
    return task


def test_it_is_a_study_with_an_arm_at_every_number_of_gpus() -> None:
    made = study(gpus=[4, 1, 2], arms=["tuned_constant", "tuned_onecycle"], seeds=3)
    assert list(made.arms) == [
        f"{name}@{gpus}" for name in ("tuned_constant", "tuned_onecycle") for gpus in (1, 2, 4)
    ]
    assert made.arms["tuned_constant@1"] == {
        "role": "baseline", "gpus": 1, "schedule": {"name": "fixed"}, "rate": "tuned",
    }  # fmt: skip
    assert made.arms["tuned_onecycle@4"] == {
        "role": "arm", "gpus": 4, "schedule": {"name": "onecycle"}, "rate": "tuned",
    }  # fmt: skip
    assert made.seeds == 3 and made.directory == "studies/synthetic-logistic-sgd-scaling"
    own = study(arms={"cosine": {"schedule": "cosine", "rate": "tuned"}}, gpus=[1, 2, 8])
    assert own.arms["cosine@8"] == {
        "schedule": "cosine", "rate": "tuned", "gpus": 8, "role": "arm",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"gpus": [1, 2]}, "has 2 numbers, and a curve needs 3"),
        ({"gpus": [2, 4, 8]}, "begins with 1"),
        ({"gpus": [1, 2, 2]}, "begins with 1"),
        ({"gpus": []}, "begins with 1"),
        ({"arms": ["cosine"]}, "cosine is no arm"),
        ({"arms": "tuned_constant,tuned_constant"}, "is no arm"),
        ({"arms": ["fixed", "fixed"]}, "each once"),
        ({"arms": []}, "names no arm"),
        ({"arms": ["onecycle_one_gpu"]}, "has a number of GPUs of its own"),
        ({"arms": {"mine": 3}}, "is no arm"),
    ],
)
def test_what_is_no_study(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        study(**options)
    assert says in caught.value.fact and caught.value.remedy


def test_the_plan_of_a_dry_run(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(*QUICK, "task.gpus=[1,2,4]", "dry_run=true", "hydra.run.dir=run")
    assert done.code == 0, done.text
    assert "tuned_constant@1 (baseline, gpus=1), tuned_constant@2 (arm, gpus=2)" in done.out
    assert (
        "base_lr at gpus=1, tuned_constant@2 at gpus=2" in done.out and "cost  at most" in done.out
    )
    assert not (tmp_path / "made").exists()


def test_larger_batches_are_predicted_from_smaller_ones() -> None:
    assert smaller([1, 2, 4, 8, 16, 32, 64]) == [1, 2, 4, 8, 16]
    # (Two batches carry no curve: nothing is predicted.)
    assert smaller([1, 2, 4, 8]) == [1, 2, 4, 8]
    points = planted(curve_of, seeds=6)
    few = smaller([float(batch) for batch in BATCHES])
    rest = [float(batch) for batch in BATCHES if batch not in few]
    made = predict([p for p in points if p.batch in few], rest, runs=6)
    assert [batch for batch, *_ in made] == [4096, 8192]
    scored = score(made, points)
    assert all(each.low < each.predicted < each.high for each in scored)
    assert all(each.covered and each.error < 0.15 for each in scored)
    assert predict([Point(128, 5.0)], rest, runs=6) == []
    # A batch that half of the runs missed is not covered by a finite interval.
    [missed] = score(made[:1], [Point(4096, None, 1.0), Point(4096, None, 1.0)])
    assert math.isinf(missed.measured) and not missed.covered and math.isinf(missed.error)
    contents = ScalingContents(
        "t", "s", {"a": scaling(points)}, batch_of_gpu=128, predictions={"a": [*scored, missed]}
    )
    table = predictions_table(contents)
    assert table is not None and [row[-1] for row in table.rows] == ["yes", "yes", "no"]
    [sentence] = prediction_words(contents)
    assert "2 of 3 intervals held" in sentence


def test_time_and_cost() -> None:
    found = costs({1: 1000.0, 2: 1100.0, 4: 2500.0, 8: math.inf}, {1: 10, 2: 20, 4: 38, 8: 70})
    assert [each.gpus for each in found] == [1, 2, 4, 8]
    assert [each.time_s for each in found[:3]] == pytest.approx([100, 55, 2500 / 38])
    assert found[1].gpu_hours == pytest.approx(2 * 55 / 3600)
    # 4 GPUs are slower and cost more than 2.
    assert [each.worth_it for each in found] == [True, True, False, False]
    assert [duration(x) for x in (5.0, 300.0, 9000.0, 1e6, math.inf)] == [
        "5 s", "5 min", "2.5 h", "11.6 days", "unlimited",
    ]  # fmt: skip


def test_throughput(tmp_path: Path) -> None:
    assert read_throughput(None) is None
    assert read_throughput({1: 5, "8": 30.0}) == {1: 5.0, 8: 30.0}
    for bad in ({}, {1: -5}, {0: 5}, {"x": 5}, {1: "fast"}, {1: True}, 5, [1], str(tmp_path)):
        with pytest.raises(ConfigError, match=r"task\.samples_per_s"):
            read_throughput(bad)


def test_the_page_with_predictions_and_cost(tmp_path: Path) -> None:
    points = planted(curve_of)
    contents = ScalingContents(
        "t", "s", {"a": scaling(points), "b": scaling(points[:9])}, batch_of_gpu=128,
        samples_per_s={1: 1e4, 8: 7e4, 64: 3e5},
        noise_scales={"a": {128.0: [700.0, 900.0, 1111.0]}},
    )  # fmt: skip
    table = costs_table(contents)
    assert table is not None and [row[:2] for row in table.rows] == [
        ["a", "1"], ["a", "8"], ["a", "64"], ["b", "1"],
    ]  # fmt: skip
    assert table.rows[0][3] == "20.9 s" or table.rows[0][3].endswith(" s")
    page = write_scaling(replace(contents), tmp_path)[1].read_text()
    assert "GPU-hours over the time to the target" in page and "Pareto front" in page
    noise = noise_scales_table(contents)
    assert noise is not None and noise.rows[0][:5] == ["a", "128", "900", "700 to 1,111", "3"]
    assert noise.title in page and "are not the same number" in page


@pytest.mark.slow
def test_a_small_study(bsscale: Bsscale, tmp_path: Path) -> None:
    command = (*QUICK, "task.gpus=[1,2,4,8,16]", "task.samples_per_s={1:1000,4:3000}")
    done = bsscale(*command)
    assert done.code == 0, done.text
    made = tmp_path / "made"
    data = json.loads((made / "scaling.json").read_text())["arms"]["tuned_constant"]
    assert sorted({p["batch"] for p in data["points"]}) == [8, 16, 32, 64, 128]
    assert {p["seed"] for p in data["points"]} == {0, 1} and len(data["points"]) == 10
    assert "Time and cost to the target" in (made / "report.html").read_text()
    record = read_study(made)
    # What the smaller batches predict was in the chain before the larger ones were trained.
    kinds = [(entry.kind, list(entry.content)) for entry in record.chain]
    at = next(
        n for n, (_, names) in enumerate(kinds) if PREDICTIONS.format("tuned_constant") in names
    )
    runs = [names for kind, names in kinds[:at] if kind == "trained"]
    assert not any("@8/" in name or "@16/" in name for names in runs for name in names
                   if name.startswith("runs/"))  # fmt: skip
    assert any(
        name.startswith("runs/tuned_constant@16/") for _, names in kinds[at:] for name in names
    )
    assert [batch for batch, *_ in record.settled[PREDICTIONS.format("tuned_constant")]] == [
        64,
        128,
    ]
    # The same command trains nothing again, and finds the same.
    head = record.head
    before = (made / "scaling.json").read_bytes()
    assert bsscale(*command).code == 0
    assert read_study(made).head == head and not read_study(made).deviations
    assert (made / "scaling.json").read_bytes() == before
