"""Short runs end with the numbers that are stored in tests/golden/runs.json.

Processors round differently, and a single run is chaotic: one rounding grows from update to update.
So these runs are in float64, have 42 updates and low rates. What is left is the initialization,
whose normal numbers torch draws in float32. With vector instructions turned off
(`ATEN_CPU_CAPABILITY=default`) it moves the log-losses here by up to 4e-8 of their value, and swaps
the order of a pair of samples or two, 4e-7 of AUC each; AVX2 and AVX-512 agree to 3e-16. At higher
rates Adam makes 1e-3 of that. Whatever changes the mathematics moves them by far more: data, order
of samples, initialization, gradients, updates, rates. tests/benchmarks/golden compares to the bit,
on one machine.

After a change that is meant to change them, write the file anew and say why in the commit::

    python -m tests.test_golden
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bsscale.optimizers import OPTIMIZERS
from tests.benchmarks.golden.records import renamed

ROOT = Path(__file__).parents[1]
STORED = ROOT / "tests" / "golden" / "runs.json"
LOG_LOSS_TOLERANCE = 1e-6  # relative
AUC_TOLERANCE = 4e-6  # ten pairs of samples

SMALL = (
    "dataset=synthetic",
    "dataset.cardinality=200",
    "dataset.samples_per_pass=5376",
    "dataset.validation_samples=4000",
    "dataset.test_samples=500",
    "micro_batch=32",
    "gpus=4",
    "budget_passes=1",
    "eval_interval_samples=1792",
    "precision=fp64",
    "executor.device=cpu",
    "tracker=none",
)
# Every model with every optimizer, in stacks; and a model of one's own with most schedules, alone.
SWEEPS = {
    "layers": (
        *SMALL,
        "model=dlrm,mlp,deepfm,logistic",
        "optimizer=" + ",".join(OPTIMIZERS),
        "base_lr=0.002",
        "schedule=onecycle",
    ),
    "eager": (
        *SMALL,
        "model=custom",
        "model._target_=golden_net.Net",
        "executor.compile=false",
        "base_lr=0.1",
        "schedule=fixed,linear_scaling,sqrt_scaling,linear_warmup,cosine,wsd,onecycle_torch,"
        "range_test",
    ),
}
# (torch's own initialization of an embedding is normal, which processors round differently.)
NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, cardinalities, numeric_fields):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(n, 4) for n in cardinalities)
        for table in self.embeddings:
            nn.init.uniform_(table.weight, -0.1, 0.1)
        self.top = nn.Sequential(
            nn.Linear(4 * len(cardinalities) + numeric_fields, 16), nn.ReLU(), nn.Linear(16, 1)
        )

    def forward(self, categorical, numeric):
        vectors = [table(categorical[:, i]) for i, table in enumerate(self.embeddings)]
        return self.top(torch.cat([*vectors, numeric], dim=1)).squeeze(1)
"""

# For each run, by model, optimizer and schedule: samples, AUC and log-loss of each evaluation.
Curves = dict[str, list[list[float]]]


def train(name: str, directory: Path) -> Curves:
    """Carry out a sweep in an empty directory."""
    (directory / "golden_net.py").write_text(NET)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = ["-m", "bsscale", "-m", *SWEEPS[name], "hydra.sweep.dir=sweep"]
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    curves: Curves = {}
    for job in sorted((directory / "sweep").glob("*/run.json"), key=lambda p: int(p.parent.name)):
        record = json.loads(job.read_text())
        lines = (job.parent / "evals.jsonl").read_text().splitlines()
        rows = [renamed(json.loads(line)) for line in lines]
        key = " ".join(record[field] for field in ("model", "optimizer", "schedule"))
        curves[key] = [[row["samples"], row["auc"], row["log_loss"]] for row in rows]
    return curves


@pytest.mark.parametrize("name", SWEEPS)
def test_runs_end_with_the_stored_numbers(name: str, tmp_path: Path) -> None:
    stored = json.loads(STORED.read_text())[name]
    curves = train(name, tmp_path)
    assert curves.keys() == stored.keys()
    wrong = [key for key in stored if not same(curves[key], stored[key])]
    shown = "\n".join(f"{key}\n  is     {curves[key]}\n  stored {stored[key]}" for key in wrong)
    assert not wrong, shown


def same(found: list[list[float]], stored: list[list[float]]) -> bool:
    return len(found) == len(stored) and all(
        samples == expected[0]
        and auc == pytest.approx(expected[1], abs=AUC_TOLERANCE, rel=0)
        and log_loss == pytest.approx(expected[2], rel=LOG_LOSS_TOLERANCE)
        for (samples, auc, log_loss), expected in zip(found, stored, strict=True)
    )


def main() -> None:
    """Write runs.json anew."""
    stored = {}
    for name in SWEEPS:
        with tempfile.TemporaryDirectory() as directory:
            stored[name] = train(name, Path(directory))
    lines = [
        f"{json.dumps(name)}: {{\n"
        + ",\n".join(f"  {json.dumps(key)}: {json.dumps(rows)}" for key, rows in curves.items())
        + "\n}"
        for name, curves in stored.items()
    ]
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
