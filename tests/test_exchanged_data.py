"""Data that were exchanged between two starts are refused by name, wherever a run is continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Finished

Bsscale = Callable[..., Finished]

RUN = (
    "dataset=table",
    "dataset.path=clicks.csv",
    "dataset.label=clicked",
    "model=logistic",
    "micro_batch=16",
    "base_lr=0.05",
    "tracker=none",
    "budget_samples=8192",
    "eval_interval_samples=1024",
    "checkpoint_interval_samples=2048",
)
# (A range test has an evaluation grid of its own.)
RANGE = tuple(word for word in RUN if not word.startswith("eval_interval"))

OTHER_ARMS = (
    "fixed",
    "sqrt_scaling",
    "linear_warmup",
    "onecycle",
    "tuned_constant",
    "onecycle_one_gpu",
)


def write_clicks(directory: Path, seed: int) -> None:
    """The same columns and rows; the labels follow from the seed."""
    rng = np.random.default_rng(seed)
    site = rng.integers(0, 5, 3000)
    price = rng.normal(size=3000)
    clicked = rng.random(3000) < 1 / (1 + np.exp(1 - price * (-1) ** seed))
    lines = [f"{s},{p:.3f},{int(c)}" for s, p, c in zip(site, price, clicked, strict=True)]
    (directory / "clicks.csv").write_text("\n".join(["site,price,clicked", *lines]) + "\n")


def files_below(directory: Path) -> dict[Path, bytes]:
    """The records that a refused start must leave as they are."""
    names = ("run.json", "evals.jsonl", "study.json", "model.safetensors")
    found = [path for path in directory.rglob("*") if path.name in names]
    found += directory.rglob("step-*.safetensors")
    return {path: path.read_bytes() for path in found}


def refused(done: Finished, directory: Path, before: dict[Path, bytes]) -> None:
    assert done.code == 1 and "Traceback" not in done.text, done.text
    assert "data_key" in done.text and "data" in done.text and "->" in done.text
    assert files_below(directory) == before


def killed(directory: Path, *arguments: str, evaluations: int) -> None:
    """A run that is killed by -9 after so many evaluations."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(
        [sys.executable, "-m", "bsscale", *arguments, "hydra.run.dir=run"],
        cwd=directory, env=environment, start_new_session=True, stdout=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        path = directory / "run" / "evals.jsonl"
        while process.poll() is None:
            if path.exists() and path.read_bytes().count(b"\n") >= evaluations:
                os.killpg(process.pid, signal.SIGKILL)
    assert not (directory / "run" / "run.json").exists()


@pytest.mark.parametrize(
    "checkpoint_interval_samples", [2048, pytest.param(1_000_000, marks=pytest.mark.slow)]
)
def test_a_killed_run_is_not_continued_on_other_data(
    bsscale: Bsscale, tmp_path: Path, checkpoint_interval_samples: int
) -> None:
    write_clicks(tmp_path, seed=0)
    long = (
        *RUN,
        "budget_samples=4000000",
        f"checkpoint_interval_samples={checkpoint_interval_samples}",
    )
    killed(tmp_path, *long, evaluations=6)
    before = files_below(tmp_path / "run")
    write_clicks(tmp_path, seed=1)
    refused(bsscale(*long, "hydra.run.dir=run"), tmp_path / "run", before)


def test_a_finished_run_is_not_shown_for_other_data(bsscale: Bsscale, tmp_path: Path) -> None:
    write_clicks(tmp_path, seed=0)
    assert bsscale(*RUN, "hydra.run.dir=run").code == 0
    before = files_below(tmp_path / "run")
    write_clicks(tmp_path, seed=1)
    refused(bsscale(*RUN, "hydra.run.dir=run"), tmp_path / "run", before)


def test_what_is_refused_or_only_planned_leaves_the_saved_configuration(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    write_clicks(tmp_path, seed=0)
    assert bsscale(*RUN, "hydra.run.dir=run").code == 0
    saved = {path: path.read_bytes() for path in (tmp_path / "run" / ".hydra").iterdir()}
    assert saved and bsscale(*RUN, "seed=1", "hydra.run.dir=run").code == 1
    assert bsscale(*RUN, "dry_run=true", "hydra.run.dir=run").code == 0
    assert {path: path.read_bytes() for path in (tmp_path / "run" / ".hydra").iterdir()} == saved


def test_a_checkpoint_is_not_continued_on_other_data(bsscale: Bsscale, tmp_path: Path) -> None:
    write_clicks(tmp_path, seed=0)
    killed(tmp_path, *RUN, "budget_samples=4000000", evaluations=6)
    write_clicks(tmp_path, seed=1)
    arguments = (*RUN, "budget_samples=4000000", "resume=run", "hydra.run.dir=new")
    refused(bsscale(*arguments), tmp_path / "run", files_below(tmp_path / "run"))
    assert not (tmp_path / "new" / "evals.jsonl").exists()


@pytest.mark.slow
def test_a_multirun_is_not_continued_on_other_data(bsscale: Bsscale, tmp_path: Path) -> None:
    write_clicks(tmp_path, seed=0)
    arguments = ("-m", *RUN, "seed=0,1", "hydra.sweep.dir=sweep")
    assert bsscale(*arguments).code == 0
    before = files_below(tmp_path / "sweep")
    write_clicks(tmp_path, seed=1)
    refused(bsscale(*arguments), tmp_path / "sweep", before)


@pytest.mark.slow
def test_a_range_test_is_not_continued_on_other_data(bsscale: Bsscale, tmp_path: Path) -> None:
    write_clicks(tmp_path, seed=0)
    arguments = ("task=range_test", *RANGE, "task.seeds=2", "task.evaluations=10")
    assert bsscale(*arguments, "hydra.run.dir=range").code == 0
    before = files_below(tmp_path / "range")
    write_clicks(tmp_path, seed=1)
    refused(bsscale(*arguments, "hydra.run.dir=range"), tmp_path / "range", before)


@pytest.mark.slow
def test_a_study_is_not_continued_on_other_data(bsscale: Bsscale, tmp_path: Path) -> None:
    write_clicks(tmp_path, seed=0)
    arguments = (
        "task=study", "gpus=2", *(each for each in RUN if not each.startswith("budget")),
        "task.directory=study", "task.seeds=1", "task.target_seeds=1", "target=0.55",
        *(f"~task.arms.{arm}" for arm in OTHER_ARMS),
    )  # fmt: skip
    done = bsscale(*arguments)
    assert done.code == 0, done.text
    before = files_below(tmp_path / "study")
    write_clicks(tmp_path, seed=1)
    refused(bsscale(*arguments), tmp_path / "study", before)


@pytest.mark.slow
def test_the_runs_of_a_study_without_its_file_are_not_taken_for_those_of_other_data(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    write_clicks(tmp_path, seed=0)
    arguments = (
        "task=study", "gpus=2", *(each for each in RUN if not each.startswith("budget")),
        "task.directory=study", "task.seeds=1", "task.target_seeds=1", "target=0.55",
        *(f"~task.arms.{arm}" for arm in OTHER_ARMS),
    )  # fmt: skip
    assert bsscale(*arguments).code == 0
    (tmp_path / "study" / "study.json").unlink()
    before = files_below(tmp_path / "study" / "runs")
    write_clicks(tmp_path, seed=1)
    done = bsscale(*arguments)
    assert done.code == 1 and "Traceback" not in done.text, done.text
    assert "runs and no study.json" in done.text and "restore its study.json" in done.text
    assert files_below(tmp_path / "study" / "runs") == before


@pytest.mark.slow
def test_a_report_keeps_runs_of_different_data_apart(bsscale: Bsscale, tmp_path: Path) -> None:
    for seed in (0, 1):
        write_clicks(tmp_path, seed)
        done = bsscale(*RUN, f"seed={seed}", "target=0.55", f"hydra.run.dir=runs/{seed}")
        assert done.code == 0, done.text
    done = bsscale("task=report", "task.runs=runs", "tracker=none", "hydra.run.dir=out")
    assert done.code == 0, done.text
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    arms = report["arms"]
    assert len(arms) == 2 and len({arm["arm"] for arm in arms}) == 2
    assert all("data=" in arm["arm"] for arm in arms)
    assert [arm["ratio_to_baseline"] for arm in arms] == [None, None]


@pytest.mark.slow
def test_another_range_test_is_refused_where_one_is(bsscale: Bsscale, tmp_path: Path) -> None:
    write_clicks(tmp_path, seed=0)
    arguments = ("task=range_test", *RANGE, "task.evaluations=10", "hydra.run.dir=range")
    assert bsscale(*arguments, "task.seeds=2").code == 0
    before = files_below(tmp_path / "range")
    for change, fact in (
        (("task.seeds=2", "gpus=2"), "global_batch: 16 there, 32 here"),
        (("task.seeds=1",), "seeds: "),
        (("task.seeds=1", "task.first_seed=7"), "seeds: "),
    ):
        for dry_run in ("true", "false"):
            done = bsscale(*arguments, *change, f"dry_run={dry_run}")
            assert done.code == 1 and fact in done.text and "Traceback" not in done.text, done.text
            assert files_below(tmp_path / "range") == before
