"""How good predictions of larger batches are: studies predict before they train, and are scored.

    python -m tests.benchmarks.scored_predictions --out DIRECTORY

Each setting is a `task=scaling`: a data set, a model, an optimizer, and one a target of its
own. The first has every number of GPUs from 1 to 64, the others every fourth; four have two
arms, the others one arm and fewer seeds and rates. From the report runs at 1 to 16 GPUs each
predicts the larger ones, writes that into the chain of the study, and only then trains there.
Every search tries each rate on one seed, and is then refined. The command continues where it was
ended. It prints a row a prediction, the share of intervals that held what was measured, and the
median error. `--settings` chooses some, `--score` trains nothing. Options of `task=scaling` come
before `--settings`.
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

BOTH = ("task.arms=[tuned_constant,tuned_onecycle]", "task.trials=6")
FEW_GPUS = ("task.gpus=[1,4,16,64]",)
ONE = (*FEW_GPUS, "task.trials=5", "task.seeds=4")
SETTINGS: dict[str, tuple[str, ...]] = {
    "flights-sgd": ("dataset=flights", "optimizer=sgd", *BOTH),
    "flights-adam": ("dataset=flights", "optimizer=adam", *BOTH, *FEW_GPUS),
    "synthetic-sgd": ("dataset=synthetic", "optimizer=sgd", *BOTH, *FEW_GPUS),
    "synthetic-adam": ("dataset=synthetic", "optimizer=adam", *BOTH, *FEW_GPUS),
    "flights-mlp-sgd": ("dataset=flights", "model=mlp", "optimizer=sgd", *ONE),
    "flights-deepfm-adam": ("dataset=flights", "model=deepfm", "optimizer=adam", *ONE),
    "synthetic-deepfm-sgd": ("dataset=synthetic", "model=deepfm", "optimizer=sgd", *ONE),
    # The first again, to a target that is easier by as much again.
    "flights-sgd-easier": ("dataset=flights", "optimizer=sgd", "task.margin=0.01", *ONE),
}


def train(name: str, out: Path, more: list[str]) -> None:
    """Carry out a setting, or what is left of it."""
    command = [
        sys.executable, "-m", "bsscale", "task=scaling", *SETTINGS[name], "task.tuning_seeds=1",
        "tracker=none", f"task.directory={out / name}", *more,
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
    print(f"{'setting':20s} {'arm':15s}  batch  predicted (95%)".ljust(74) + "  measured  held")
    for name, arm, each in found:
        print(
            f"{name:20s} {arm:15s} {each.batch:6,.0f} {each.predicted:10,.0f} "
            f"({each.low:,.0f} to {each.high:,.0f})".ljust(74)
            + f"{each.measured:10,.0f}  {'yes' if each.covered else 'no'}"
        )
    if found:
        held = sum(each.covered for _, _, each in found)
        error = statistics.median(each.error for _, _, each in found)
        print(f"{held} of {len(found)} intervals held; the median error is {error:.1%}")


if __name__ == "__main__":
    main()
