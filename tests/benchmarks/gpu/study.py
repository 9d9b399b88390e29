"""Seconds of whole commands: one run, 15 runs together, and runs by torch one by one."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.benchmarks.bench_training import study as bench
from tests.benchmarks.bench_training.data import write_learnable
from tests.benchmarks.gpu.cases import Cases, Facts
from tests.benchmarks.gpu.timing import LEAST_OF_ONE_BY_ONE, MOST_OF_ONE_RUN

SCHEDULES, SEEDS = ("fixed", "linear_warmup", "onecycle"), 5
# The same model, unknown to bsscale: torch trains it, one run after the other.
BY_TORCH = ("model=custom", "model._target_=tests.benchmarks.gpu.own_model.OwnMLP",
            "+model.embedding_dim=8", "+model.hidden=[128,64]", "executor.compile=false",
            "schedule=fixed")  # fmt: skip


def run(cases: Cases) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data.npz")
        write_learnable(data, *((20_000, 2_000) if cases.small else (400_000, 20_000)))
        measure = partial(_measured, cases, data)
        stack = (f"schedule={','.join(SCHEDULES)}", f"seed={','.join(map(str, range(SEEDS)))}")
        if cases.small:
            stack = ("schedule=fixed,onecycle", "seed=0")
        many = 2 if cases.small else len(SCHEDULES) * SEEDS
        of_many = measure("together", ("-m", *stack), many)
        of_one = {} if cases.small else measure("one run", ("schedule=fixed", "seed=0"), 1)
        by_torch = 1 if cases.small else 3
        seeds = ",".join(map(str, range(by_torch)))
        one_by_one = measure("by torch, one by one", ("-m", *BY_TORCH, f"seed={seeds}"), by_torch)
        _goals(cases, many, of_many, of_one, one_by_one)
        if cases.small:
            return
        measure("together, again", ("-m", *stack), many)
        for gpus in (8, 16):
            measure(f"together, gpus={gpus}", ("-m", *stack, f"gpus={gpus}"), many)
        every = ("eval_interval_samples=null",)
        measure("together, evaluated every 128 updates", ("-m", *stack, *every), many)
        measure("together, on the CPU", ("-m", *stack), many, "cpu")


def _goals(cases: Cases, many: int, stack: Facts, one: Facts, by_torch: Facts) -> None:
    ratio = stack["wall_s"] / one["wall_s"] if stack and one else None
    cases.compare(
        "a study against one run", f"wall time of {many} runs / one", ratio, MOST_OF_ONE_RUN, True
    )
    gain = many * by_torch["train_s_of_a_run"] / stack["train_s"] if stack and by_torch else None
    what = f"training time of {many} runs by torch (extrapolated) / together"
    cases.compare("a study against runs by torch", what, gain, LEAST_OF_ONE_BY_ONE, False)


def _measured(
    cases: Cases,
    data: Path,
    name: str,
    overrides: tuple[str, ...],
    runs: int,
    device: str | None = None,
) -> Facts:
    """Carry out a command, and give its seconds and what its records say."""

    def case() -> Facts:
        steps = 500 if cases.small else bench.STEPS
        folder = data.parent / name.replace(" ", "-").replace(",", "")
        sweep = overrides[0] == "-m"
        own = {each.lstrip("+").split("=")[0].split(".")[0] for each in overrides}
        given = [each for each in bench.OVERRIDES if each.split("=")[0].split(".")[0] not in own]
        command = [
            *(sys.executable, "-m", "bsscale", *given, f"+dataset.path={data}"),
            f"budget_samples={steps * bench.MICRO_BATCH}",
            *("executor=virtual", f"executor.device={device or cases.device.type}"),
            f"hydra.{'sweep' if sweep else 'run'}.dir={folder}",
            *overrides,
        ]
        used = _Utilization(cases)
        started = time.perf_counter()
        done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
        wall_s = time.perf_counter() - started
        busy = used.mean()
        if done.returncode != 0:
            raise RuntimeError(
                f"exit code {done.returncode}: {(done.stdout + done.stderr)[-3000:]}"
            )
        records = [json.loads(path.read_text()) for path in folder.rglob("run.json")]
        assert len(records) == runs, [record["steps"] for record in records]
        shutil.rmtree(folder)
        # Runs that are trained together have the same seconds.
        train_s = [record["wall_s"] for record in records]
        return {
            "runs": runs,
            "steps": records[0]["steps"],
            "wall_s": wall_s,
            "train_s": max(train_s),
            "train_s_of_a_run": statistics.median(train_s),
            "eval_share": statistics.median(record["eval_share"] for record in records),
            "samples_per_s": statistics.median(record["samples_per_s"] for record in records),
            "gpu_busy_percent": busy,
        }

    return cases.measure(name, case)


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


class _Utilization:
    """How busy the GPU is meanwhile, as nvidia-smi says."""

    def __init__(self, cases: Cases) -> None:
        self._process = None
        if cases.device.type == "cuda" and shutil.which("nvidia-smi"):
            command = ["nvidia-smi", "--query-gpu=utilization.gpu",
                       "--format=csv,noheader,nounits", "-lms", "200"]  # fmt: skip
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )

    def mean(self) -> float | None:
        """The mean since the beginning, in percent; None if it is not known."""
        if self._process is None:
            return None
        self._process.terminate()
        output, _ = self._process.communicate()
        values = [float(line) for line in output.split() if line.isdigit()]
        return statistics.mean(values) if values else None
