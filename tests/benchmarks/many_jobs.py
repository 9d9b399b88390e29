"""What a job of a sweep costs beside its training: CPU time of whole commands of many tiny jobs.

    python -m tests.benchmarks.many_jobs --jobs 300

The jobs differ in schedule, gpus and seed. *Checked*: composition, check and plan, by
``dry_run=true``. *Started*: directory, saved configuration, log and records as well, with a
training of 250 updates at most. The cost of a job is that of the whole command, less that of a
command of one job, by the number of the other jobs; the command of one job is shown beside it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCHEDULES = ("fixed", "linear_scaling", "onecycle")
GPUS = (1, 2, 4, 8)
OVERRIDES = (
    "dataset=synthetic",
    "dataset.samples_per_pass=2000",
    "dataset.validation_samples=100",
    "dataset.test_samples=100",
    "model=logistic",
    "micro_batch=8",
    "base_lr=0.1",
    "workers=1",
    "tracker=none",
)


def command(jobs: int) -> list[str]:
    """The overrides of so many jobs."""
    if jobs == 1:
        return [*OVERRIDES, f"schedule={SCHEDULES[0]}", f"gpus={GPUS[0]}", "seed=0"]
    seeds = jobs // (len(SCHEDULES) * len(GPUS))
    return [
        *OVERRIDES,
        f"schedule={','.join(SCHEDULES)}",
        f"gpus={','.join(map(str, GPUS))}",
        f"seed={','.join(map(str, range(seeds)))}",
    ]


def cost(jobs: int, *more: str) -> float:
    """CPU seconds of a command, processes that it starts included."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory(prefix="bsscale-jobs-") as directory:
        begun = children_seconds()
        done = subprocess.run(
            [sys.executable, "-m", "bsscale", "-m", *command(jobs), *more],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise SystemExit(f"{jobs} jobs failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return children_seconds() - begun


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=300, help="a multiple of 12")
    parser.add_argument("--only", choices=("checked", "started"))
    options = parser.parse_args()
    if options.jobs < 12 or options.jobs % 12:
        parser.error("--jobs must be a multiple of 12")
    for name, more in (("checked", ["dry_run=true"]), ("started", ["budget_samples=2000"])):
        if options.only in (None, name):
            one, all_ = cost(1, *more), cost(options.jobs, *more)
            each = (all_ - one) / (options.jobs - 1)
            print(
                f"{name}  one job {one:.1f} s, {options.jobs} jobs {all_:.1f} s: {each:.3f} s each"
            )


if __name__ == "__main__":
    main()
