"""Eight replicas as one large batch in one process, against eight gloo processes.

    python -m tests.benchmarks.bench_training.replicas

Runs of the command line, in turns: ``gpus=8 micro_batch=64`` with executor=virtual and with
executor=ddp, on the same cores. Compared is ``samples_per_s`` of run.json, which leaves out the
start-up and the evaluation of both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

OVERRIDES = (
    "gpus=8",
    "micro_batch=64",
    "executor.device=cpu",
    "dataset=synthetic",
    "dataset.categorical_fields=10",
    "dataset.cardinality=999",
    "dataset.numeric_fields=0",
    "model=mlp",
    "model.embedding_dim=8",
    "model.hidden=[128,64]",
    "base_lr=0.01",
    "tracker=none",
)
# Long enough to forget the first steps of each.
BUDGET_SAMPLES = {"virtual": 1_024_000, "ddp": 102_400}


def samples_per_s(executor: str, directory: Path) -> float:
    budget = BUDGET_SAMPLES[executor]
    subprocess.run(
        [
            *(sys.executable, "-m", "bsscale", *OVERRIDES, f"executor={executor}"),
            f"budget_samples={budget}",
            f"eval_interval_samples={budget}",
            f"hydra.run.dir={directory}",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return float(json.loads((directory / "run.json").read_text())["samples_per_s"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Eight replicas in one process and in eight.")
    parser.add_argument("--rounds", type=int, default=5, help="turns; default: %(default)s")
    rounds = parser.parse_args().rounds
    rates: dict[str, list[float]] = {executor: [] for executor in BUDGET_SAMPLES}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for executor, measured in rates.items():
                measured.append(samples_per_s(executor, Path(folder, f"{executor}-{number}")))
    for executor, measured in rates.items():
        print(
            f"{executor:<8} {statistics.median(measured):9,.0f} samples/s "
            f"({min(measured):,.0f} to {max(measured):,.0f})"
        )
    ratio = statistics.median(rates["virtual"]) / statistics.median(rates["ddp"])
    print(f"virtual is {ratio:.1f} times as fast as 8 gloo processes ({rounds} rounds)")


if __name__ == "__main__":
    main()
