"""A study of examples/torch_loop.py that is killed at random moments ends as if undisturbed.

``BSSCALE_TEST_KILLS=10 python -m pytest -m slow -o addopts= tests/bridge -k killed``
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import command, python_path
from tests.test_study import outcome

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("BSSCALE_TEST_KILLS", "1"))
# Two arms on two seeds, a search of three rates and two runs for the target.
STUDY = (
    "task=study",
    "trainer=script",
    f'trainer.command="python {ROOT}/examples/torch_loop.py"',
    "trainer.samples_per_pass=4096",
    "trainer.momentum=0.9",
    "trainer.search_range=[0.02,0.5]",
    "gpus=8",
    "micro_batch=32",
    "eval_interval_samples=1024",
    "budget_samples=8192",
    "tracker=none",
    "task.directory=study",
    "task.seeds=2",
    "task.trials=3",
    "task.tuning_seeds=1",
    "task.finalist_seeds=1",
    "task.target_seeds=2",
    "task.margin=0.03",
    *(
        f"~task.arms.{name}"
        for name in (
            "fixed", "sqrt_scaling", "linear_warmup", "onecycle", "tuned_constant",
            "tuned_onecycle", "onecycle_one_gpu",
        )
    ),
)  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": python_path(), "OMP_NUM_THREADS": "1"}


def evaluations(directory: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in directory.rglob("evals.jsonl"))


def scripts(directory: Path) -> list[int]:
    """The processes of the scripts that may still run."""
    unfinished = [
        path for path in directory.rglob("process.json") if not (path.parent / "run.json").exists()
    ]
    return [json.loads(path.read_text())["pid"] for path in unfinished]


def found(directory: Path) -> dict[str, Any]:
    """What a study has found; the machine's load and where it lies are no part of it."""
    kept = outcome(directory / "study")
    assert all(kept[name] for name in ("study.json", "runs/one_gpu/seed-0/run.json"))
    return kept


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_the_same(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for directory in (whole, broken):
        directory.mkdir()
    done = subprocess.run(
        [*command(), *STUDY], cwd=whole, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    chance, total = random.Random(KILLS), evaluations(whole)
    for moment in sorted(chance.randrange(1, total) for _ in range(KILLS)):
        with subprocess.Popen(
            [*command(), *STUDY],
            cwd=broken,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None and evaluations(broken) < moment:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        if chance.random() < 0.5:  # everything is killed: the script too
            for pid in scripts(broken):
                try:
                    os.killpg(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
    done = subprocess.run(
        [*command(), *STUDY], cwd=broken, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert found(broken) == found(whole)
