"""Write the records and reports beside this file: what bsscale left behind in format version 1.

    python tests/golden/version_1/make.py

In a checkout that writes format version 1 (README.md beside this file names it), from its root. It
takes a minute. Everything is trained anew, so that times and, on another processor, the
last digits change; tests/test_version_1.py needs records and reports that were made together.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

SMALL = (
    "dataset=synthetic",
    "dataset.categorical_fields=4",
    "dataset.cardinality=50",
    "dataset.samples_per_pass=16000",
    "dataset.validation_samples=3000",
    "dataset.test_samples=2000",
    "model=logistic",
    "micro_batch=32",
    "tracker=none",
    "executor.device=cpu",
)
ONE = (*SMALL, "gpus=4", "base_lr=0.1", "budget_passes=2", "eval_interval_samples=3200")
FAILING = ("model=custom", "model._target_=failing.Net", "executor.compile=false")
STUDY = (
    "task=study",
    "gpus=4",
    *SMALL,
    "eval_interval_samples=1600",
    "task.directory=study",
    "task.trials=4",
    "task.tuning_seeds=1",
    "task.target_seeds=2",
    "task.range_test_seeds=2",
    "task.budget_factor=2",
    "~task.arms.fixed",
    "~task.arms.sqrt_scaling",
    "~task.arms.linear_warmup",
    "~task.arms.onecycle_one_gpu",
)
COMMANDS: Sequence[Sequence[str]] = (
    (*ONE, "target=0.74", "schedule=onecycle", "hydra.run.dir=single/reached"),
    (*ONE, "target=0.9", "hydra.run.dir=single/exhausted"),
    (*ONE, "hydra.run.dir=single/no_target"),
    (*ONE, "model=mlp", "target=0.74", "base_lr=1000", "hydra.run.dir=single/diverged"),
    (*ONE, *FAILING, "target=0.74", "hydra.run.dir=single/failed"),
    (
        "-m",
        *SMALL,
        "schedule=fixed,onecycle",
        "gpus=1,8",
        "seed=0,1,2",
        "base_lr=0.1",
        "target=0.745",
        "budget_passes=4",
        "eval_interval_samples=3200",
        "hydra.sweep.dir=multirun",
    ),
    (
        *SMALL,
        "task=range_test",
        "task.seeds=2",
        "task.evaluations=30",
        "gpus=4",
        "hydra.run.dir=range_test",
    ),
    # A study, and then one more seed of it.
    (*STUDY, "task.seeds=6"),
    (*STUDY, "task.seeds=7"),
)
# Killed once it has two checkpoints.
UNFINISHED = (
    *SMALL,
    "gpus=4",
    "base_lr=0.1",
    "budget_samples=400000",
    "eval_interval_samples=51200",
    "checkpoint_interval_samples=51200",
    "hydra.run.dir=unfinished",
)
FOLDERS = ("single", "multirun", "range_test", "study", "unfinished")
# The reports by name, and what each is of.
REPORTS = {
    "single": "[single,unfinished]",
    "multirun": "multirun",
    "range_test": "range_test",
    "study": "study",
}

NET = """
from torch import nn


class Net(nn.Module):
    def __init__(self, cardinalities, numeric_fields):
        super().__init__()
        self.top = nn.Linear(numeric_fields, 1)
        self.calls = 0

    def forward(self, categorical, numeric):
        self.calls += 1
        if self.calls == 100:
            raise RuntimeError("this model fails at its hundredth batch")
        return self.top(numeric).squeeze(1)
"""

# What the fixture keeps; .hydra's other files, logs, weights and figures are dropped.
KEPT = {
    "run.json",
    "evals.jsonl",
    "overrides.yaml",
    "multirun.yaml",
    "comparison.json",
    "range_test.json",
    "preset.yaml",
    "study.json",
}


def start(arguments: Sequence[str], directory: Path) -> subprocess.Popen[bytes]:
    """Begin a command in a directory."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bsscale", *arguments]
    return subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.DEVNULL)


def write_reports(fixture: Path, out: Path) -> dict[str, Path]:
    """Report on the fixture, or a copy of it; gives the directory of each report.

    Reports show the directories of runs as they are given, so they are given relative to `fixture`.
    """
    runs = ",".join(REPORTS.values())
    arguments = ("-m", "task=report", f"task.runs={runs}", f"hydra.sweep.dir={out}")
    with start((*arguments, "tracker=none"), fixture) as process:
        if process.wait():
            raise SystemExit("the reports cannot be written")
    return {name: out / str(job) for job, name in enumerate(REPORTS)}


def make_unfinished(directory: Path) -> None:
    with start(UNFINISHED, directory) as process:
        while len(list((directory / "unfinished").glob("checkpoints/step-*"))) < 2:
            if process.poll() is not None:
                raise SystemExit("the run that was to be killed has ended")
            time.sleep(0.002)
        process.kill()


def keep(directory: Path, name: str) -> None:
    """Copy what the fixture keeps of one folder."""
    shutil.rmtree(HERE / name, ignore_errors=True)
    for path in sorted((directory / name).rglob("*")):
        inside = path.relative_to(directory)
        if name == "study" and inside.parts[1] == "report":
            continue
        if path.name in KEPT or path.suffix == ".journal" or path.parent.name == "checkpoints":
            copy = HERE / inside
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    sweep = HERE / name / "multirun.yaml"
    if sweep.exists():
        # The rest of it are Hydra's own settings and paths of the machine.
        words = yaml.safe_load(sweep.read_text())["hydra"]["overrides"]["task"]
        sweep.write_text(yaml.safe_dump({"hydra": {"overrides": {"task": words}}}))


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        (directory / "failing.py").write_text(NET)
        for arguments in COMMANDS:
            with start(arguments, directory) as process:
                print(process.wait(), *arguments, flush=True)
        make_unfinished(directory)
        for name in FOLDERS:
            keep(directory, name)
        # Reports of what is kept, not of what was made.
        shutil.rmtree(HERE / "expected", ignore_errors=True)
        for name, report in write_reports(HERE, directory / "reports").items():
            (HERE / "expected" / name).mkdir(parents=True)
            for ending in ("json", "md", "csv"):
                shutil.copy(report / f"report.{ending}", HERE / "expected" / name)


if __name__ == "__main__":
    main()
