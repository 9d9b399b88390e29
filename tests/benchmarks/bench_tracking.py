"""What tracking costs: CPU time of whole runs with W&B and without, in pairs.

    python -m tests.benchmarks.bench_tracking
    python -m tests.benchmarks.bench_tracking -m schedule=fixed,onecycle seed=0,1,2 gpus=8

The arguments after the options are those of ``python -m bsscale``; the main job without any. Every
round runs three commands one after the other, in changing order: the job with tracker=none, the
same with W&B offline, and a process that does nothing but start W&B, begin as many W&B runs as the
job does and end them empty: what W&B itself costs, whatever is sent to it. CPU time is that of each
command and of all the processes that it started and waited for, W&B's among them.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

MAIN_JOB = ["schedule=onecycle", "gpus=8"]
# As bsscale.mirror starts it.
EMPTY_RUNS = """
import sys
sys.modules["pandas"] = None
import wandb
for number in range(int(sys.argv[1])):
    wandb.init(
        mode="offline", dir=".", project="bsscale",
        settings=wandb.Settings(console="off", silent=True, reinit="create_new"),
    ).finish()
"""


def cpu_s(command: Sequence[str], directory: Path) -> float:
    """CPU time of a command and its processes, in seconds."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "WANDB_MODE": "offline",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_DATA_DIR": str(directory),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def wandb_runs(directory: Path) -> int:
    """W&B runs below a directory."""
    return len(list(directory.rglob("offline-run-*")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    options, job = parser.parse_known_args()
    job = [sys.executable, "-m", "bsscale", *(job or MAIN_JOB)]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        cpu_s([*job, "tracker=none"], directory)  # fills the caches
        cpu_s([*job, "tracker=wandb"], directory)
        runs = wandb_runs(directory)
        commands = {
            "off": [*job, "tracker=none"],
            "on": [*job, "tracker=wandb"],
            "start": [sys.executable, "-c", EMPTY_RUNS, str(runs)],
        }
        rounds = []
        for number in range(options.rounds):
            order = list(commands)
            order = order[number % 3 :] + order[: number % 3]
            rounds.append({key: cpu_s(commands[key], directory) for key in order})
            print("  ".join(f"{key} {rounds[-1][key]:.3f} s" for key in commands), flush=True)
    medians = {key: statistics.median(each[key] for each in rounds) for key in commands}
    costs = [each["on"] - each["off"] - each["start"] for each in rounds]
    print(f"\n{runs} W&B runs, {options.rounds} rounds; median CPU time")
    print(f"  without W&B            {medians['off']:.3f} s")
    print(f"  with W&B               {medians['on']:.3f} s")
    print(f"  W&B's start            {medians['start']:.3f} s")
    cost = statistics.median(costs)
    low, high = min(costs), max(costs)
    print(f"  tracking beyond that   {cost:.3f} s ({low:.3f} to {high:.3f})")
    print(f"  of the run's own       {100 * cost / medians['off']:.1f}%")


if __name__ == "__main__":
    main()
