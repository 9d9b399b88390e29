"""Small pieces that tests share."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bsscale.config import Config, ExecutorOptions, TaskOptions, TrackerOptions
from bsscale.data import Dataset, load_dataset
from bsscale.optimizers import SGDConfig
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.records.checkpoints import Checkpoint
from bsscale.records.evaluation import EvalPoint
from bsscale.schedules.options import FixedConfig
from bsscale.training.outcome import Outcome


def others_slow(default: int, cases: Sequence[Any]) -> list[Any]:
    """So many cases of a test of whole processes by default, and the others among the slow ones."""
    return [
        *cases[:default],
        *(
            pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
            for case in cases[default:]
        ),
    ]


SYNTHETIC: dict[str, Any] = {
    "_target_": "bsscale.data.synthetic.load",
    "name": "synthetic",
    "categorical_fields": 4,
    "cardinality": 50,
    "numeric_fields": 3,
    "samples_per_pass": 20_000,
    "validation_samples": 3001,
    "test_samples": 1999,
}

# Two arms, a control and the baseline, on two seeds.
SMALL_STUDY = (
    "task=study",
    "gpus=4",
    "dataset=synthetic",
    "model=logistic",
    "micro_batch=32",
    "tracker=none",
    "task.seeds=2",
    "task.tuning_seeds=1",
    "task.finalist_seeds=1",
    "task.target_seeds=2",
    "task.range_test_seeds=1",
    "~task.arms.linear_scaling",
    "~task.arms.sqrt_scaling",
    "~task.arms.linear_warmup",
    "~task.arms.onecycle_one_gpu",
)

MODELS: dict[str, dict[str, Any]] = {
    "dlrm": {"_target_": "bsscale.models.DLRM", "name": "dlrm"},
    "mlp": {"_target_": "bsscale.models.MLP", "name": "mlp"},
    "deepfm": {"_target_": "bsscale.models.DeepFM", "name": "deepfm"},
    "dcnv2": {"_target_": "bsscale.models.DCNV2", "name": "dcnv2"},
    "logistic": {"_target_": "bsscale.models.Logistic", "name": "logistic"},
}


def small_config(**changes: Any) -> Config:
    """A configuration that trains in a moment; `changes` replace its fields."""
    config = Config(
        task=TaskOptions("train"),
        dataset=SYNTHETIC,
        model=MODELS["logistic"],
        optimizer=SGDConfig(),
        schedule=FixedConfig(),
        executor=ExecutorOptions("virtual", "cpu"),
        tracker=TrackerOptions("none"),
        micro_batch=32,
        base_lr=0.1,
        eval_interval_samples=2048,
        budget_samples=20_480,
    )
    return replace(config, **changes)


def prepare(config: Config) -> tuple[Plan, Dataset]:
    """The plan and the data of a configuration, on a machine without accelerators."""
    dataset = load_dataset(config.dataset)
    return make_plan(config, dataset.train.samples_per_pass, Devices(cuda=0)), dataset


def changed(plan: Plan, **changes: Any) -> Plan:
    """The same plan of another configuration; nothing is derived again."""
    return replace(plan, config=replace(plan.config, **changes))


class Watched:
    """A job that remembers what it was told."""

    def __init__(self, plan: Plan, broken: str = "") -> None:
        self.plan = plan
        self.checkpoint: Checkpoint | None = None
        self.saved: list[Checkpoint] = []
        self.steps: list[int] = []
        self.points: list[EvalPoint] = []
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self._broken = broken

    def begin(self) -> list[Watched]:
        self._breaks("begin")
        return [self]

    def on_step(self, step: int) -> None:
        self.steps.append(step)

    def on_eval(self, point: EvalPoint) -> None:
        self.points.append(point)
        self._breaks("on_eval")

    def save(self, checkpoint: Checkpoint) -> None:
        self.saved.append(checkpoint)

    def end(self, outcome: Outcome, model: Any) -> None:
        self._breaks("end")
        self.outcome = outcome

    def fail(self, error: Exception) -> None:
        self.error = error

    def _breaks(self, where: str) -> None:
        if self._broken == where:
            raise OSError("the disk is full")


def require_slurm() -> None:
    """Skip the test where there is no cluster."""
    if shutil.which("sinfo") and "SLURM_CONF" in os.environ:
        listed = subprocess.run(["sinfo", "-h"], capture_output=True, timeout=60)
        if listed.returncode == 0 and listed.stdout:
            return
    pytest.skip("no SLURM: export SLURM_CONF=$(tests/clusters/slurm.sh start), as root on Debian")


class Bomb:
    """A pickle that leaves a directory behind if anyone loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (os.mkdir, (str(self.path),))


def damaged(content: bytes, rng: np.random.Generator, bomb: Bomb) -> bytes:
    """One of the ways in which a file can be damaged."""
    where = int(rng.integers(len(content)))
    if rng.random() < 0.3:  # most of a file is its header and its end
        where = int(rng.choice([where % 400, len(content) - 1 - where % 400]))
    match rng.integers(6):
        case 0:
            return content[:where]
        case 1:
            return (
                content[:where]
                + bytes([content[where] ^ 1 << rng.integers(8)])
                + (content[where + 1 :])
            )
        case 2:
            return content + rng.bytes(int(rng.integers(1, 100)))
        case 3:
            return pickle.dumps(bomb)
        case 4:
            return content[:where] + pickle.dumps(bomb) + content[where:]
        case _:
            return rng.bytes(len(content))
