"""How good predictions of larger batches are: studies predict before they train, and are scored.

    python -m tests.benchmarks.scored_predictions --out DIRECTORY

Each setting is a `task=scaling` with two arms at 1 to 64 GPUs. From the report runs at 1 to 16 GPUs
it predicts 32 and 64, writes that into the chain of the study, and only then trains there. The
command continues where it was ended. It prints a row a prediction, the share of intervals that
held what was measured, and the median error. `--settings` chooses some, `--score` trains nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bsscale.critical_batch import Point
from bsscale.critical_batch.predictions import Scored, score
from bsscale.records.study_record import read_study
from bsscale.study.scaling import PREDICTIONS

SETTINGS = {
    f"{dataset}-{optimizer}": (f"dataset={dataset}", f"optimizer={optimizer}")
    for dataset in ("flights", "synthetic")
    for optimizer in ("sgd", "adam")
}
ARMS = "task.arms=[tuned_constant,tuned_onecycle]"


def train(name: str, out: Path, more: list[str]) -> None:
    """Carry out a setting, or what is left of it."""
    command = [
        sys.executable, "-m", "bsscale", "task=scaling", *SETTINGS[name], ARMS, "tracker=none",
        f"task.directory={out / name}", *more,
    ]  # fmt: skip
    subprocess.run(command, check=True)


def scored(directory: Path) -> Iterator[tuple[str, Scored]]:
    """The scored predictions of a finished setting, with their arms."""
    settled = read_study(directory).settled
    arms = json.loads((directory / "scaling.json").read_text())["arms"]
    for arm, found in arms.items():
        points = [Point(p["batch"], p["samples"], p["budget"], p["seed"]) for p in found["points"]]
        for each in score(settled.get(PREDICTIONS.format(arm), ()), points):
            yield arm, each


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--score", action="store_true", help="train nothing")
    given, more = parser.parse_known_args()
    if not given.score:
        for name in given.settings:
            train(name, given.out, more)
    found = [
        (name, arm, each)
        for name in given.settings
        if (given.out / name / "scaling.json").exists()
        for arm, each in scored(given.out / name)
    ]
    print("setting          arm              batch  predicted (95%)               measured  held")
    for name, arm, each in found:
        print(
            f"{name:16s} {arm:15s} {each.batch:6,.0f} {each.predicted:10,.0f} "
            f"({each.low:,.0f} to {each.high:,.0f})".ljust(70)
            + f"{each.measured:10,.0f}  {'yes' if each.covered else 'no'}"
        )
    if found:
        held = sum(each.covered for _, _, each in found)
        error = statistics.median(each.error for _, _, each in found)
        print(f"{held} of {len(found)} intervals held; the median error is {error:.1%}")


if __name__ == "__main__":
    main()
