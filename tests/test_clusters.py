"""Sweeps on a real SLURM, a real Ray cluster, and in processes of this host, preempted or not.

export SLURM_CONF=$(tests/clusters/slurm.sh start)
export BSSCALE_RAY_PYTHON=$(tests/clusters/ray.sh start)
python -m pytest -m slow -o addopts= tests/test_clusters.py
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from bsscale.records.run_record import read_run
from tests.conftest import SMALL, Finished
from tests.helpers import require_slurm

Bsscale = Callable[..., Finished]

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parent.parent / "docs" / "many_devices.md").read_text(encoding="utf-8")


def example(launcher: str) -> tuple[str, ...]:
    """The documented command for a launcher, made small: four runs, schedules x seeds."""
    [words] = re.findall(
        rf"python -m bsscale (-m hydra/launcher={launcher} executor=[^`\n]*)", PAGE
    )
    return (*words.split(), *SMALL, "hydra.sweep.dir=sweep")


SWEEP = example("submitit_slurm")
# Long enough to be interrupted in.
LONG = ("budget_passes=8", "checkpoint_interval_samples=8192")
RAY_ADDRESS = "127.0.0.1:26379"


class OnRankOneOnly(torch.nn.Linear):
    """A model that rank 1 cannot build."""

    def __init__(self, cardinalities: Any, numeric_fields: int) -> None:
        if os.environ.get("SLURM_PROCID") == "1":
            raise RuntimeError("this node is broken")
        super().__init__(numeric_fields, 1)

    def forward(self, categorical: torch.Tensor, numeric: torch.Tensor) -> torch.Tensor:
        return super().forward(numeric).squeeze(1)


def environment(cache: Path) -> dict[str, str]:
    root = Path(__file__).parent.parent
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return {
        **os.environ,
        "PYTHONPATH": path,
        "BSSCALE_CACHE_DIR": str(cache),
        "OMP_NUM_THREADS": "1",
    }


def reference(
    factory: pytest.TempPathFactory, cache: Path, *overrides: str
) -> dict[str, Mapping[str, Any]]:
    """What the sweep leaves when this host trains it and nothing disturbs it."""
    directory = factory.mktemp("reference")
    done = subprocess.run(
        [sys.executable, "-m", "bsscale", *SWEEP, *overrides, "hydra/launcher=stacked"],
        cwd=directory, env=environment(cache), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return outcome(directory / "sweep")


@pytest.fixture(scope="module")
def short(
    tmp_path_factory: pytest.TempPathFactory, session_cache: Path
) -> dict[str, Mapping[str, Any]]:
    return reference(tmp_path_factory, session_cache)


@pytest.fixture(scope="module")
def long(
    tmp_path_factory: pytest.TempPathFactory, session_cache: Path
) -> dict[str, Mapping[str, Any]]:
    return reference(tmp_path_factory, session_cache, *LONG)


def outcome(sweep: Path) -> dict[str, Mapping[str, Any]]:
    """What each run has found, and its weights; each run exists once."""
    found = {}
    for path in sorted(sweep.glob("[0-9]*")):
        lines = (path / "evals.jsonl").read_text().splitlines()
        evals = [{k: v for k, v in json.loads(line).items() if k != "wall_s"} for line in lines]
        record = read_run(path)
        found[path.name] = {
            "arm": (record.schedule, record.gpus, record.seed, record.status, record.best_value),
            "evals": evals,
            "weights": (path / "model.safetensors").read_bytes(),
            "left over": sorted(p.name for p in path.glob("checkpoints/*")),
        }
    assert list(found) == ["0", "1", "2", "3"]
    return found


def start(
    directory: Path, cache: Path, *overrides: str, sweep: Sequence[str] = SWEEP
) -> subprocess.Popen[str]:
    """Start a sweep on SLURM."""
    return subprocess.Popen(
        [sys.executable, "-m", "bsscale", *sweep, *overrides],
        cwd=directory, env=environment(cache), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def until(condition: Callable[[], Any], what: str, within_s: float = 240) -> Any:
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
    return value


def jobs() -> dict[str, tuple[str, str]]:
    """Of SLURM's queue: number in the array -> id and state."""
    lines = [line.split() for line in slurm("squeue", "-h", "-r", "-o", "%K %A %T").splitlines()]
    return {number: (job, state) for number, job, state in lines}


def evaluations(run: Path) -> int:
    path = run / "evals.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_slurm_jobs_that_are_preempted_end_as_undisturbed_ones(
    tmp_path: Path, session_cache: Path, long: Mapping[str, Any]
) -> None:
    require_slurm()
    sweep = tmp_path / "sweep"
    preempt = {
        # What SLURM sends before a time limit, or before preemption: submitit queues the job again.
        "0": lambda job: ("scancel", "--signal=USR2", f"{job}.0"),
        # What preemption does: the tasks are told to end, and killed.
        "1": lambda job: ("scontrol", "requeue", job),
    }
    with start(tmp_path, session_cache, *LONG) as process:
        for number, command in preempt.items():
            until(lambda n=number: evaluations(sweep / n) >= 3, f"job {number} to train")
            job, _ = jobs()[number]
            slurm(*command(job))
        # Ctrl-C ends the launcher, not the jobs.
        process.send_signal(signal.SIGINT)
        stopped, _ = process.communicate(timeout=60)
    assert process.returncode == 130, stopped
    assert "no longer waiting for the jobs" in stopped and "hydra.sweep.dir=sweep" in stopped
    submitted = (sweep / "slurm_jobs.json").read_bytes()
    with start(tmp_path, session_cache, *LONG) as process:
        for number in preempt:
            # Queued again, a job would wait for two minutes.
            until(lambda n=number: jobs()[n][1] == "PENDING", f"job {number} to be queued again")
            until(
                lambda n=number: (
                    subprocess.run(
                        ["scontrol", "update", f"jobid={jobs()[n][0]}", "starttime=now"],
                        capture_output=True,
                    ).returncode
                    == 0
                ),
                f"job {number} to be startable",
            )
        printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    assert outcome(sweep) == long
    for number in long:
        went_on = "going on after" in (sweep / number / "bsscale.log").read_text()
        assert went_on == (number in preempt), number
    assert "(2 tasks on 1 node)" in stopped
    assert (
        printed.count("(already job") == 4 and submitted == (sweep / "slurm_jobs.json").read_bytes()
    )
    for state in ("pending", "running", "ended", "(adopted)"):
        assert state in stopped + printed, state


def test_a_job_that_is_cancelled_leaves_a_checkpoint_and_goes_on(
    tmp_path: Path, session_cache: Path
) -> None:
    require_slurm()
    run = tmp_path / "sweep" / "0"
    one = [each for each in SWEEP if not each.startswith(("schedule=", "seed="))]
    # There is no checkpoint but that of the signal.
    long = ("seed=0", "budget_passes=60", "checkpoint_interval_samples=1000000")
    with start(tmp_path, session_cache, *long, sweep=one) as process:
        until(lambda: evaluations(run) >= 3, "the job to train")
        slurm("scancel", "--name=bsscale")
        printed, _ = process.communicate(timeout=600)
    assert process.returncode == 1 and "CANCELLED" in printed, printed
    [kept] = (run / "checkpoints").glob("step-*")
    with start(tmp_path, session_cache, *long, sweep=one) as process:
        printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    assert (
        f"going on after {int(kept.stem[5:]) * 64:,} samples" in (run / "bsscale.log").read_text()
    )
    assert read_run(run).samples_seen >= 60 * 20_000


def test_slurm_gives_each_job_of_a_sweep_the_tasks_that_it_needs(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    require_slurm()
    done = bsscale(
        "-m", *SMALL, "executor=ddp", "gpus=1,4", "hydra.sweep.dir=sweep",
        "hydra/launcher=submitit_slurm", "hydra.launcher.tasks_per_node=2",
    )  # fmt: skip
    assert done.code == 0, done.text
    assert "gpus=1  (1 task on 1 node)" in done.out and "gpus=4  (4 tasks on 2 nodes)" in done.out
    records = [read_run(tmp_path / "sweep" / number) for number in ("0", "1")]
    assert [(r.gpus, r.status) for r in records] == [(1, "exhausted"), (4, "exhausted")]
    # One process wrote each of them, once.
    for number in ("0", "1"):
        assert (tmp_path / "sweep" / number / "bsscale.log").read_text().count("best AUC") == 1


def test_an_error_of_a_rank_reaches_the_user_with_its_rank(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    require_slurm()
    model = ("model=custom", "model._target_=tests.test_clusters.OnRankOneOnly")
    done = bsscale(
        "-m", *(a for a in SMALL if not a.startswith("model=")), *model, "executor=ddp", "gpus=2",
        "hydra.sweep.dir=sweep", "hydra/launcher=submitit_slurm",
    )  # fmt: skip
    assert done.code == 1
    assert "rank 1 of 2" in done.text and "this node is broken" in done.text


def test_what_slurm_refuses_is_said(bsscale: Bsscale, tmp_path: Path) -> None:
    require_slurm()
    done = bsscale(
        "-m", *SMALL, "seed=0,1", "hydra.sweep.dir=sweep", "hydra/launcher=submitit_slurm",
        "hydra.launcher.partition=none_such",
    )  # fmt: skip
    assert done.code == 1 and "partition" in done.text and "Traceback" not in done.text
    never = bsscale(
        "-m", *SMALL, "executor=ddp", "gpus=8", "hydra.sweep.dir=sweep",
        "hydra/launcher=submitit_slurm",
    )  # fmt: skip
    assert never.code == 1 and "cannot start a job of 8 tasks on 1 node" in never.text
    assert "Traceback" not in never.text
    assert not list((tmp_path / "sweep").glob("[0-9]*"))


def test_ray_trains_a_sweep(tmp_path: Path, session_cache: Path, short: Mapping[str, Any]) -> None:
    python = os.environ.get("BSSCALE_RAY_PYTHON")
    if python is None:
        pytest.skip("no Ray: export BSSCALE_RAY_PYTHON=$(tests/clusters/ray.sh start)")
    variables = environment(session_cache)
    # (the environment of this one's packages is not Ray's)
    del variables["PYTHONPATH"]
    cache = f"+hydra.launcher.ray.init.runtime_env.env_vars.BSSCALE_CACHE_DIR={session_cache}"
    done = subprocess.run(
        [python, "-m", "bsscale", *example("ray"), cache],
        cwd=tmp_path, env={**variables, "RAY_ADDRESS": RAY_ADDRESS},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcome(tmp_path / "sweep") == short


def test_submitit_local_trains_a_sweep(
    bsscale: Bsscale, tmp_path: Path, short: Mapping[str, Any]
) -> None:
    done = bsscale(*example("submitit_local"))
    assert done.code == 0, done.text
    assert outcome(tmp_path / "sweep") == short


def test_joblib_trains_a_sweep(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(*example("joblib"))
    assert done.code == 0, done.text
    found = outcome(tmp_path / "sweep")
    alone = bsscale(*example("joblib"), "hydra/launcher=basic", "hydra.sweep.dir=basic")
    assert alone.code == 0, alone.text
    assert found == outcome(tmp_path / "basic")
