"""A whole study of 15 runs against one run on a DataLoader: CPU time of whole processes.

    python -m tests.benchmarks.bench_training.study

Both train the benchmark's model on the same file at micro_batch 64 for 5,000 steps a run and
evaluate on 20,000 rows every 500 steps. The DataLoader's is `dataloader_run`; bsscale trains
3 schedules x 5 seeds by one command in one process, with every cache empty, and writes all its
records; W&B, which the other does not have, is off. Counted is everything from the start of the
process to its end, user and system time, children included. The two take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.bench_training.data import CARDINALITY, FIELDS, write_learnable
from tests.benchmarks.bench_training.measuring import children_seconds

if TYPE_CHECKING:
    from bsscale.data import Dataset

STEPS, MICRO_BATCH, EVAL_EVERY = 5000, 64, 500
OVERRIDES = (
    "schedule=fixed,linear_warmup,onecycle",
    "seed=0,1,2,3,4",
    f"micro_batch={MICRO_BATCH}",
    f"budget_samples={STEPS * MICRO_BATCH}",
    f"eval_interval_samples={EVAL_EVERY * MICRO_BATCH}",
    "base_lr=0.01",
    "model=mlp",
    "model.embedding_dim=8",
    "model.hidden=[128,64]",
    "dataset=custom",
    f"dataset._target_={__package__}.study.load",
    "tracker=none",
    "workers=1",  # (the time of workers is not in that of this process and its children)
)


def load(path: str) -> Dataset:
    """The file of `write_learnable` as bsscale's data set; its validation rows are the test's."""
    from bsscale.data import Dataset, Samples, Schema

    def part(name: str) -> Samples:
        ids = file[f"{name}_ids"].astype(np.int32)
        return Samples(ids, np.empty((len(ids), 0), np.float32), file[f"{name}_label"])

    names = tuple(f"c{field}" for field in range(FIELDS))
    schema = Schema(categorical=names, cardinalities=(CARDINALITY,) * FIELDS, numeric=())
    with np.load(path) as file:
        valid = part("valid")
        return Dataset.from_arrays(schema, part("train"), valid, valid)


def cost(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """CPU and wall seconds of a process and its children."""
    cpu, wall = children_seconds(), time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return children_seconds() - cpu, time.perf_counter() - wall


def measure(rounds: int) -> dict[str, list[tuple[float, float]]]:
    costs: dict[str, list[tuple[float, float]]] = {"one DataLoader run": [], "bsscale, 15 runs": []}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data.npz")
        write_learnable(data)
        for number in range(rounds):
            cache = Path(folder, f"cache-{number}")
            environment = {
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "BSSCALE_CACHE_DIR": str(cache),
                "TORCHINDUCTOR_CACHE_DIR": str(cache / "compiled"),
            }
            module = [sys.executable, "-m", f"{__package__}.dataloader_run"]
            options = f"--steps {STEPS} --micro-batch {MICRO_BATCH} --eval-every {EVAL_EVERY}"
            costs["one DataLoader run"].append(
                cost([*module, "--data", str(data), *options.split()], environment)
            )
            sweep = Path(folder, f"sweep-{number}")
            bsscale = [sys.executable, "-m", "bsscale", "-m", *OVERRIDES]
            costs["bsscale, 15 runs"].append(
                cost([*bsscale, f"+dataset.path={data}", f"hydra.sweep.dir={sweep}"], environment)
            )
            steps = [json.loads(path.read_text())["steps"] for path in sweep.glob("*/run.json")]
            assert steps == [STEPS] * 15, steps
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description="A study of 15 runs against one DataLoader run.")
    parser.add_argument("--rounds", type=int, default=3, help="turns; default: %(default)s")
    costs = measure(parser.parse_args().rounds)
    medians = {}
    for name, seconds in costs.items():
        cpu, wall = zip(*seconds, strict=True)
        medians[name] = statistics.median(cpu)
        print(
            f"{name:<20} CPU {medians[name]:6.1f} s ({min(cpu):.1f} to {max(cpu):.1f}), "
            f"wall {statistics.median(wall):6.1f} s"
        )
    one, study = medians.values()
    print(f"15 runs cost {study / one:.2f} times the CPU time of one ({len(cpu)} rounds)")


if __name__ == "__main__":
    main()
