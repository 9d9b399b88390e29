"""What two workers save: wall time of whole commands with workers=1 and workers=2, in pairs.

    python -m tests.benchmarks.workers
    python -m tests.benchmarks.workers --rounds 5 --workers 1 2 4 --only multirun

On a machine that does nothing else, with at least as many cores as workers. Each round runs every
command once for each number of workers, in changing order; medians are shown, and whether every
run's evaluations (less times) and weights were equal to the bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "study": ("task=study", "experiment=quick", "gpus=8", "tracker=none", "task.directory=out"),
    "multirun": (
        "-m",
        "schedule=fixed,linear_scaling,onecycle",
        "gpus=8",
        "seed=0,1,2,3,4",
        "budget_passes=1",
        "tracker=none",
        "hydra.sweep.dir=out",
    ),
}


def timed(arguments: Sequence[str], workers: int, directory: Path) -> tuple[float, str]:
    """Seconds of a command, and a hash of what its runs have left."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bsscale", *arguments, f"workers={workers}", "weights=last"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return seconds, _hash(directory / "out")


def _hash(directory: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("evals.jsonl")):
        digest.update(str(path.relative_to(directory)).encode())
        for line in path.read_text().splitlines():
            digest.update(json.dumps({**json.loads(line), "wall_s": None}).encode())
        digest.update((path.parent / "model.safetensors").read_bytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", choices=COMMANDS)
    options = parser.parse_args()
    for name, arguments in COMMANDS.items():
        if options.only not in (None, name):
            continue
        seconds: dict[int, list[float]] = {count: [] for count in options.workers}
        hashes = set()
        for number in range(options.rounds):
            order = options.workers if number % 2 == 0 else options.workers[::-1]
            for count in order:
                with tempfile.TemporaryDirectory(prefix="bsscale-workers-") as directory:
                    taken, left = timed(arguments, count, Path(directory))
                seconds[count].append(taken)
                hashes.add(left)
                print(f"{name}  workers={count}  {taken:.1f} s", flush=True)
        medians = {count: statistics.median(each) for count, each in seconds.items()}
        one = medians[options.workers[0]]
        for count, median in medians.items():
            print(f"{name}  workers={count}  median {median:.1f} s  {one / median:.2f} times")
        print(f"{name}  equal to the bit: {len(hashes) == 1}")


if __name__ == "__main__":
    main()
