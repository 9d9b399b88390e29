"""A multirun: checked before, compared after, whatever fails in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bsscale.records.run_record import read_run
from bsscale.stats import censored_median
from tests.conftest import SMALL, Finished

Bsscale = Callable[..., Finished]
SWEEP = ("hydra.sweep.dir=sweep",)


def test_three_schedules_and_two_seeds_end_in_one_comparison(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    done = bsscale(
        "-m", *SMALL, *SWEEP, "schedule=fixed,linear_scaling,onecycle", "gpus=8", "seed=0,1",
        "target=0.6", "budget_passes=2",
    )  # fmt: skip
    assert done.code == 0, done.text
    records = [read_run(tmp_path / "sweep" / str(job)) for job in range(6)]
    comparison = json.loads((tmp_path / "sweep" / "comparison.json").read_text())
    assert [arm["arm"].split()[0] for arm in comparison["arms"]] == [
        "fixed",
        "linear_scaling",
        "onecycle",
    ]
    for arm in comparison["arms"]:
        own = [r for r in records if r.arm_hash == arm["arm_hash"]]
        assert len(own) == arm["runs"] == 2
        assert arm["reached"] == sum(r.status == "reached" for r in own)
        values = [float("inf") if r.samples_to_target is None else r.samples_to_target for r in own]
        median = censored_median(values)
        assert arm["median_samples_to_target"] == (None if median == float("inf") else median)
        curve = comparison["curves"][arm["arm"]]
        assert curve[0]["samples"] == 0
    best = min(a["median_samples_to_target"] or float("inf") for a in comparison["arms"])
    assert min(a["ratio_to_best"] or float("inf") for a in comparison["arms"]) == 1.0
    # The table: a row an arm, on the console.
    for word in ("arm", "reached", "median samples", "task=report task.runs=sweep"):
        assert word in done.out
    assert f"{best:,.0f}" in done.out and "2/2" in done.out


def test_a_failing_job_does_not_end_the_others(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(
        "-m", *SMALL, *SWEEP, "model=custom,logistic", "+model.mode=x",
    )  # fmt: skip
    assert done.code == 1
    done = bsscale(
        "-m", *[a for a in SMALL if not a.startswith("model")], *SWEEP, "seed=0,1,2",
        "model=custom", "model._target_=tests.test_multirun.FailsForSeedOne",
    )  # fmt: skip
    assert done.code == 1
    statuses = [read_run(tmp_path / "sweep" / str(job)).status for job in range(3)]
    assert statuses == ["exhausted", "failed", "exhausted"]
    assert "the odd seed" in done.text and "failed" in done.text
    assert "Traceback" not in done.text
    assert not (tmp_path / "sweep" / "1" / "evals.jsonl").exists()
    comparison = json.loads((tmp_path / "sweep" / "comparison.json").read_text())
    assert comparison["arms"][0]["failed"] == 1
    assert comparison["failed"][0]["directory"].endswith("1")


def test_nothing_is_trained_if_one_job_is_wrong(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale("-m", *SMALL, *SWEEP, "gpus=1,2,0")
    assert done.code == 1
    assert "Nothing was trained" in done.text and "gpus=0" in done.text
    assert "Traceback" not in done.text
    assert not list((tmp_path / "sweep").glob("*/evals.jsonl"))


def test_an_option_that_one_job_has_not_is_said_before_the_first(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    done = bsscale(
        "-m", *SMALL, *SWEEP, "schedule=onecycle,fixed", "schedule.cycle_first_stair_count=0,5"
    )
    assert done.code == 1
    assert "cycle_first_stair_count" in done.text and "Traceback" not in done.text
    assert not list((tmp_path / "sweep").glob("*/evals.jsonl"))


@pytest.mark.slow
def test_hydras_own_launcher_works_too(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale("-m", *SMALL, *SWEEP, "hydra/launcher=basic", "seed=0,1")
    assert done.code == 0, done.text
    assert "reached" in done.out and (tmp_path / "sweep" / "comparison.json").exists()
    refused = bsscale("-m", *SMALL, "hydra/launcher=basic", "micro_batch=0,-1")
    assert refused.code == 1 and "micro_batch=-1 is below 1" in refused.text


def test_a_multirun_trains_what_single_runs_train(bsscale: Bsscale, tmp_path: Path) -> None:
    """No state leaks from one job into the next, nor between runs that are trained together."""
    options = (*SMALL, "schedule=onecycle", "gpus=4", "precision=fp64")
    assert bsscale("-m", *options, *SWEEP, "seed=0,1").code == 0
    alone = bsscale(*options, "hydra.run.dir=run", "seed=1")
    assert alone.code == 0

    def evaluations(path: Path) -> list[dict[str, float]]:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [
            {k: v for k, v in line.items() if k != "wall_s" and v is not None} for line in lines
        ]

    # How many runs share a matrix product decides the rounding, and nothing else.
    of_the_job = evaluations(tmp_path / "sweep/1/evals.jsonl")
    of_the_run = evaluations(tmp_path / "run/evals.jsonl")
    assert len(of_the_job) == len(of_the_run) > 3
    for ours, others in zip(of_the_job, of_the_run, strict=True):
        assert ours == pytest.approx(others, rel=1e-9)


def FailsForSeedOne(cardinalities: list[int], numeric_fields: int) -> object:  # noqa: N802
    """A user's model that cannot be built at seed 1."""
    import torch

    from bsscale.models import Logistic

    if torch.initial_seed() == 1:
        raise ValueError("the odd seed")
    return Logistic(cardinalities, numeric_fields)


@pytest.mark.parametrize("sweep", ["/dev/null/x"])
def test_a_sweep_directory_that_cannot_be_written(bsscale: Bsscale, sweep: str) -> None:
    done = bsscale("-m", *SMALL, f"hydra.sweep.dir={sweep}", "seed=0,1")
    assert done.code == 1
    assert "cannot be written" in done.text and "Traceback" not in done.text


@pytest.mark.slow
def test_a_sweep_that_starts_nothing_leaves_the_saved_configuration(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    small = (*SMALL, "budget_passes=null", "budget_samples=4096", *SWEEP)
    assert bsscale("-m", *small, "seed=0,1").code == 0
    before = (tmp_path / "sweep" / "multirun.yaml").read_bytes()
    refused = bsscale("-m", *small, "seed=0,1", "gpus=2")
    assert refused.code == 1 and "hydra.sweep.dir=PATH" in refused.text, refused.text
    assert "hydra.run.dir" not in refused.text
    assert bsscale("-m", *small, "seed=0,1,2", "dry_run=true").code == 0
    assert (tmp_path / "sweep" / "multirun.yaml").read_bytes() == before


def test_a_sweep_with_a_failed_job_ends_with_1_whatever_its_task(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    small = [each for each in SMALL if not each.startswith("budget")]
    ramp = ("task.ramp.lr_range_test_min_lr=1e5", "task.ramp.lr_range_test_max_lr=1e6")
    done = bsscale(
        "-m", *small, *SWEEP, "task=range_test", "task.seeds=1", "task.evaluations=10", *ramp
    )
    assert done.code == 1, done.text
    assert "was not tried" in done.text and "try lower rates" in done.text
    assert not list((tmp_path / "sweep").rglob("preset.yaml"))
