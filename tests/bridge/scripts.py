"""Runs that tiny scripts train, in this process."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from bsscale.bridge.options import ScriptOptions
from bsscale.bridge.scripts import Scripts
from bsscale.config import Config, ExecutorOptions, TaskOptions, TrackerOptions
from bsscale.data.of_script import ScriptDataset
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.schedules.options import FixedConfig
from bsscale.training.run_trainer import Result
from bsscale.training.spec import RunSpec

DATASET = ScriptDataset.of(None, None)
# Ten evaluations of ten updates.
OPTIONS: dict[str, Any] = {
    "micro_batch": 10,
    "gpus": 2,
    "base_lr": 0.1,
    "budget_samples": 2000,
    "eval_interval_samples": 200,
    "target": 0.7,
}


def sh(text: str) -> str:
    """The command that runs a shell script."""
    return shlex.join(["sh", "-c", text.replace("{", "{{").replace("}", "}}")])


def python(text: str) -> str:
    """The command that runs a Python script with bsscale at hand."""
    return shlex.join([sys.executable, "-c", text.replace("{", "{{").replace("}", "}}")])


def spec(directory: Path, command: str, trainer: dict[str, Any], **changes: Any) -> RunSpec:
    """A run of a command."""
    config = Config(
        task=TaskOptions("train"),
        schedule=FixedConfig(),
        executor=ExecutorOptions("auto"),
        tracker=TrackerOptions("none"),
        trainer=ScriptOptions(command=command, **trainer),
    )
    config = config.trainer.completed(replace(config, **{**OPTIONS, **changes}))
    plan = make_plan(config, config.trainer.samples_per_pass, Devices(0))  # type: ignore[attr-defined]
    return RunSpec(plan, directory, "arm", group="group")


def train(specs: list[RunSpec], at_once: int = 1) -> list[Result]:
    """Train runs, and give what became of each."""
    with Scripts(at_once, Devices(0)) as scripts:
        results = scripts.train(specs, [DATASET] * len(specs))
    return [results[number] for number in range(len(specs))]
