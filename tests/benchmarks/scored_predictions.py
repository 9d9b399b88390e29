"""How good predictions of larger batches are: studies predict before they train, and are scored.

    python -m tests.benchmarks.scored_predictions --out DIRECTORY

Each setting is a `task=scaling`: a data set, a model, an optimizer, and one a target of its
own. The first has every number of GPUs from 1 to 64, the others every fourth; four have two
arms, the others one arm and fewer seeds and rates. From the report runs at 1 to 16 GPUs each
predicts the larger ones, writes that into the chain of the study, and only then trains there.
Every search tries each rate on one seed, and is then refined. The command continues where it was
ended. It prints the tables of docs/scaling.md: what each arm has cost, and a row a prediction, with
the share of intervals that held what was measured, and the median error. `--settings` chooses some,
`--score` trains nothing: with `--out docs/studies/scaling` it reads the records in docs. `--take`
copies the records of what is finished into a directory. Options of `task=scaling` come before
`--settings`.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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


def arms_of(directory: Path) -> dict[str, dict[str, Any]]:
    """What was found for each arm of a finished setting."""
    found: dict[str, dict[str, Any]] = json.loads((directory / "scaling.json").read_text())["arms"]
    return found


def scored(directory: Path) -> Iterator[tuple[str, Scored]]:
    """The scored predictions of a finished setting, with their arms."""
    settled = read_study(directory).settled
    for arm, found in arms_of(directory).items():
        points = [Point(p["batch"], p["samples"], p["budget"], p["seed"]) for p in found["points"]]
        for each in score(settled.get(PREDICTIONS.format(arm), ()), points):
            yield arm, each


def curve_rows(out: Path, settings: Sequence[str]) -> Iterator[str]:
    """A row for each arm of each setting: what it has cost at 1, 4, 16 and 64 GPUs, and its Bc."""
    for name in settings:
        for arm, found in arms_of(out / name).items():
            cells = [name, arm]
            for gpus in (1, 4, 16, 64):
                runs = [p["samples"] for p in found["points"] if p["batch"] == 128 * gpus]
                missed = sum(run is None for run in runs)
                median = statistics.median(math.inf if run is None else run for run in runs)
                middle = "missed" if math.isinf(median) else f"{median / 1000:,.0f}"
                cells.append(f"{middle} ({missed} of {len(runs)} missed)" if missed else middle)
            if found["identified"]:
                low, high = found["critical_batch_interval"]
                cells.append(f"{found['critical_batch']:,.0f} ({low:,.0f} to {high:,.0f})")
                cells.append(f"{found['exponent']:.2f}")
            else:
                cells += ["not identified", "-"]
            yield f"| {' | '.join(cells)} |"


def prediction_rows(out: Path, settings: Sequence[str]) -> Iterator[str]:
    """A row for each prediction, then a sentence that counts them."""
    found = [(name, *each) for name in settings for each in scored(out / name)]
    for name, arm, each in found:
        measured = "missed" if math.isinf(each.measured) else f"{each.measured:,.0f}"
        yield (
            f"| {name} | {arm} | {each.batch:,.0f} | {each.predicted:,.0f} ({each.low:,.0f} to "
            f"{each.high:,.0f}) | {measured} | {'yes' if each.covered else 'no'} |"
        )
    if found:
        held = sum(each.covered for _, _, each in found)
        error = statistics.median(each.error for _, _, each in found)
        yield f"{held} of {len(found)} intervals held; the median error is {error:.0%}"


def take(out: Path, settings: Sequence[str], where: Path) -> None:
    """Copy the records of finished settings."""
    for name in settings:
        (where / name).mkdir(parents=True, exist_ok=True)
        for file in ("study.json", "scaling.json", "report/samples.csv"):
            shutil.copyfile(out / name / file, where / name / Path(file).name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--score", action="store_true", help="train nothing")
    parser.add_argument("--take", type=Path, help="copy the records into this directory")
    given, more = parser.parse_known_args()
    if not given.score:
        for name in given.settings:
            train(name, given.out, more)
    ended = [name for name in given.settings if (given.out / name / "scaling.json").exists()]
    print(*curve_rows(given.out, ended), "", *prediction_rows(given.out, ended), sep="\n")
    if given.take is not None:
        take(given.out, ended, given.take)


if __name__ == "__main__":
    main()
