"""What tracking costs: CPU time of whole runs with W&B and without, in pairs.

    python -m tests.benchmarks.bench_tracking
    python -m tests.benchmarks.bench_tracking -m schedule=fixed,onecycle seed=0,1,2 gpus=8

The arguments after the options are those of ``python -m bsscale``; the main job without any. Every
round runs these commands one after the other, in changing order: the job with tracker=none, the
same with W&B offline, and a process that does nothing but start W&B, begin as many W&B runs as the
job does and end them empty: what W&B itself costs, whatever is sent to it. The difference of whole
jobs is at the mercy of a busy machine; so the process that follows the records also runs alone, on
records that are complete. CPU time is that of each command and of all the processes that it started
and waited for, W&B's among them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bsscale.tracking import mirror

MAIN_JOB = ["schedule=onecycle", "gpus=8"]
# As bsscale.tracking.mirror starts it.
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


def cpu_s(command: Sequence[str], directory: Path, told: str = "") -> float:
    """CPU time of a command and its processes, in seconds."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "WANDB_MODE": "offline",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_DATA_DIR": str(directory),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command, cwd=directory, env=environment, check=True, capture_output=True,
        input=told.encode(),
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def mirrored(directory: Path) -> list[str]:
    """The directories below one that were mirrored to W&B."""
    return [str(path.parent) for path in directory.rglob("wandb.json")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    options, job = parser.parse_known_args()
    job = [sys.executable, "-m", "bsscale", *(job or MAIN_JOB)]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        cpu_s([*job, "tracker=none"], directory)  # fills the caches
        cpu_s([*job, "tracker=wandb"], directory)
        directories = mirrored(directory)
        commands = {
            "off": [*job, "tracker=none"],
            "on": [*job, "tracker=wandb"],
            "start": [sys.executable, "-c", EMPTY_RUNS, str(len(directories))],
            "alone": [sys.executable, "-P", str(mirror.__file__), "offline"],
        }
        told = "".join(
            json.dumps({command: each}) + "\n"
            for command in ("open", "finish")
            for each in directories
        )
        rounds = []
        for number in range(options.rounds):
            order = list(commands)
            order = order[number % 4 :] + order[: number % 4]
            rounds.append(
                {k: cpu_s(commands[k], directory, told if k == "alone" else "") for k in order}
            )
            print("  ".join(f"{key} {rounds[-1][key]:.3f} s" for key in commands), flush=True)
    medians = {key: statistics.median(each[key] for each in rounds) for key in commands}
    print(f"\n{len(directories)} W&B runs, {options.rounds} rounds; median CPU time")
    print(f"  without W&B   {medians['off']:.3f} s")
    print(f"  with W&B      {medians['on']:.3f} s")
    print(f"  W&B's start   {medians['start']:.3f} s")
    for says, costs in (
        ("whole jobs", [each["on"] - each["off"] - each["start"] for each in rounds]),
        ("the mirror alone", [each["alone"] - each["start"] for each in rounds]),
    ):
        cost = statistics.median(costs)
        print(
            f"  tracking beyond the start, {says}: {cost:.3f} s ({min(costs):.3f} to "
            f"{max(costs):.3f}), {100 * cost / medians['off']:.1f}% of the job"
        )


if __name__ == "__main__":
    main()
