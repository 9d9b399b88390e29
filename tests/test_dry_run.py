"""``dry_run=true`` prints the plan and its cost, and trains nothing, whatever the task."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bsscale.cli.tasks import TASKS
from bsscale.records.run_record import read_run
from tests.conftest import SMALL, Finished
from tests.helpers import others_slow

Bsscale = Callable[..., Finished]
# (A range test and a study have a budget of their own.)
USUAL = ("train", "study")
NO_BUDGET = tuple(word for word in SMALL if not word.startswith("budget"))
STUDY = ("task=study", "task.directory=study", "task.seeds=2", "task.trials=3", "gpus=4")
# (A range test and a study have seeds of their own.)
AXIS = "checkpoint_interval_samples=10000,20000"
# (A report has no options of a training.)
# (Points are fitted without a training.)
POINTS = Path(__file__).parent / "data" / "rcp_dlrm.csv"
AXES = {"report": "task.out=one,two", "scaling": f"task.points={POINTS},{POINTS}"}
FACTS = {
    "train": [
        "global batch  32 samples",
        "schedule  lr 0.1",
        "cost  at most 20,480 samples",
    ],
    "show_schedule": ["global batch  32 samples", "cost  nothing is trained"],
    # 20,000 samples a pass in whole updates of 32, on 3 seeds.
    "range_test": ["lr 0.001, rise to", "cost  3 seeds, 60,000 samples in all"],
    "study": ["one_gpu (baseline, gpus=1)", "seeds  2, from 0", "cost  at most"],
    "scaling": ["scaling  63 points of all", "cost  nothing is trained"],
    "report": ["report  on .", "written to", "cost  nothing is trained"],
    "dashboard": ["W&B workspace", "sent to  nowhere", "cost  nothing is trained"],
}
ARGUMENTS = {
    "train": SMALL,
    "show_schedule": (*SMALL, "task=show_schedule"),
    "range_test": (*NO_BUDGET, "task=range_test"),
    "study": (*NO_BUDGET, *STUDY),
    "scaling": ("task=scaling", f"task.points={POINTS}"),
    "report": ("task=report", "task.runs=.", "task.out=out"),
    "dashboard": ("task=dashboard",),
}


def written(directory: Path) -> set[str]:
    """What a command has left, less Hydra's files and the caches."""
    files = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return {
        str(path)
        for path in files
        if not {".hydra", "wandb-home"} & set(path.parts)
        and path.name not in ("bsscale.log", "multirun.yaml")
    }


def test_every_task_is_tested() -> None:
    assert FACTS.keys() == ARGUMENTS.keys() == TASKS.keys()


@pytest.mark.parametrize("task", TASKS)
def test_of_a_single_command(bsscale: Bsscale, tmp_path: Path, task: str) -> None:
    done = bsscale(*ARGUMENTS[task], "dry_run=true", "hydra.run.dir=run")
    assert done.code == 0, done.text
    for fact in FACTS[task]:
        assert fact in done.out
    assert len(re.findall(r"^ +cost  ", done.out, flags=re.MULTILINE)) == 1
    assert written(tmp_path) == set()


@pytest.mark.parametrize(
    ("task", "launcher"),
    others_slow(
        2,
        [
            *((task, "stacked") for task in sorted(TASKS, key=lambda task: task not in USUAL)),
            ("train", "basic"),
        ],
    ),
)
def test_of_a_sweep(bsscale: Bsscale, tmp_path: Path, task: str, launcher: str) -> None:
    done = bsscale(
        "-m", *(word for word in ARGUMENTS[task] if not word.startswith("task.out")),
        "dry_run=true", AXES.get(task, AXIS), f"hydra/launcher={launcher}",
        "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert done.code == 0, done.text
    for fact in FACTS[task]:
        assert done.out.count(fact) == 2
    assert written(tmp_path) == set()
    if launcher == "stacked":  # (basic, Hydra's own, starts every job)
        assert "2 jobs, at most" in done.out
        assert not list((tmp_path / "sweep").glob("*/.hydra"))


@pytest.mark.parametrize("launcher", ["submitit_local", "joblib"])
def test_other_launchers_start_no_job(bsscale: Bsscale, tmp_path: Path, launcher: str) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    done = bsscale(
        "-m", *SMALL, "dry_run=true", "seed=0,1", f"hydra/launcher={launcher}",
        "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert done.code == 0, done.text
    assert "2 jobs, at most 40,960 samples in all" in done.out
    assert written(tmp_path) == set() and not list((tmp_path / "sweep").glob("*/"))


def test_a_sweep_says_how_it_is_trained_and_what_it_costs(bsscale: Bsscale) -> None:
    done = bsscale("-m", *SMALL, "dry_run=true", "gpus=1,2", "seed=0,1")
    assert done.code == 0, done.text
    assert done.out.count("2 runs, 2 at a time: layers") == 2
    assert "4 jobs, at most 81,920 samples in all" in done.out
    # What sets a job apart from the others.
    assert "#2  gpus=2 seed=0\n" in done.out


def test_a_study_on_a_cluster_is_planned_for_its_jobs(bsscale: Bsscale, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    done = bsscale(
        *ARGUMENTS["study"], "dry_run=true", "hydra.run.dir=run", "executor.device=cuda",
        "hydra/launcher=submitit_slurm", "hydra.launcher.gpus_per_node=8",
    )  # fmt: skip
    # (This machine need not have the devices, and need not have SLURM.)
    assert done.code == 0, done.text
    assert "one_gpu (baseline, gpus=1)" in done.out and written(tmp_path) == set()


@pytest.mark.slow
def test_a_dry_run_is_no_run_that_failed(bsscale: Bsscale, tmp_path: Path) -> None:
    extras: dict[str, tuple[str, ...]] = {"trained": (), "planned": ("dry_run=true",)}
    for name, extra in extras.items():
        assert bsscale(*SMALL, *extra, f"hydra.run.dir={name}/0").code == 0
    assert read_run(tmp_path / "trained" / "0").status == "exhausted"
    done = bsscale("task=report", "task.runs=[trained,planned]", "task.out=out")
    assert done.code == 0, done.text
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["failed"] == []


@pytest.mark.parametrize(
    ("task", "wrong", "fact"),
    others_slow(
        2,
        [
            ("train", ["gpus=0"], "gpus=0"),
            # Of the last arm: nothing is trained before it is found.
            (
                "study",
                ["+task.arms.late={schedule:{name:linear_warmup,warmup_fraction:99}}"],
                "linear_warmup",
            ),
            ("show_schedule", ["task.show_samples=0"], "task.show_samples=0"),
            ("range_test", ["task.seeds=0"], "task.seeds=0"),
            ("scaling", ["task.points=nowhere"], "task.points=nowhere"),
            ("report", ["task.runs=nowhere"], "task.runs=nowhere"),
            ("dashboard", ["task.publish=mine"], "task.publish=mine"),
        ],
    ),
)
def test_what_is_wrong_is_found_before_anything_is_trained(
    bsscale: Bsscale, tmp_path: Path, task: str, wrong: list[str], fact: str
) -> None:
    for arguments in (
        [*ARGUMENTS[task], *wrong, "hydra.run.dir=run"],
        ["-m", *ARGUMENTS[task], *wrong, AXIS, "hydra.sweep.dir=sweep"],
    ):
        done = bsscale(*arguments)
        assert done.code == 1, done.text
        assert fact in done.text and "Traceback" not in done.text
        assert written(tmp_path) == set()
