"""The tables of docs/methods.md and docs/tutorial.md, from the studies in docs/studies.

    python -m tests.benchmarks.methods_tables docs/studies/methods-flights-sgd-gpus8
    python -m tests.benchmarks.methods_tables --beside docs/studies/momentum-*
    python -m tests.benchmarks.methods_tables --take studies/methods-sgd-gpus8 docs/studies/NAME

A row for each arm: its rate, the rates that its search tried and the samples that these took, how
many runs reached the target, and the ratio of its median samples to those of 1 GPU and to those of
tuned_constant. The intervals of a column hold together. The last column is the range of the ratio
to 1 GPU over the target and the easier targets of the report. With --beside a column for each
study: the ratios to 1 GPU. --take copies the records of a study into docs.
`tests/test_published_numbers.py` compares the pages with these rows.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bsscale.records.study_record import StudyRecord, read_study
from bsscale.report.ratio_words import estimate_words, times
from bsscale.stats import RatioEstimate, censored_median, compare_family, paired_ratio

Runs = dict[str, dict[int, float]]
CONSTANT = "tuned_constant"
HEADER = (
    "| arm | rate | rates tried | samples of tuning | reached | samples over 1 GPU's | over "
    f"{CONSTANT}'s | over 1 GPU's, at easier targets |"
)


def samples(study: Path) -> Runs:
    """From arm and seed to samples to the target; infinite where it was missed."""
    found: Runs = {}
    with (study / "samples.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            value = float(row["samples"] or math.inf)
            found.setdefault(row["arm"], {})[int(row["seed"])] = value
    return found


def ratios(runs: Runs, baseline: str, arms: list[str]) -> Mapping[str, RatioEstimate]:
    """Their ratios to the baseline, with intervals that hold together."""
    family = compare_family({arm: runs[arm] for arm in arms}, runs[baseline])
    assert not family.each_alone
    return family.judged


def rows(directory: Path) -> list[str]:
    """The rows of a study's table: arms that were not tuned at their own batch come first."""
    study, runs, easier = read_study(directory), samples(directory), _easier(directory)
    baseline = study.baseline
    assert baseline is not None
    tuned = [arm.name for arm in study.arms if arm.rate == "tuned"]
    others = [arm.name for arm in study.arms if arm.rate != "tuned" and arm.name != baseline]
    to_one = ratios(runs, baseline, [*others, *tuned])
    to_constant = ratios(runs, CONSTANT, [arm for arm in tuned if arm != CONSTANT])
    made = [HEADER, "|---|---|---|---|---|---|---|---|"]
    for arm in (baseline, *others, *tuned):
        rate, tried, cost = _search(study, "one_gpu" if arm == baseline else arm)
        median = f"{censored_median(list(runs[arm].values())):,.0f} samples"
        cells = [
            arm, rate, tried, cost, _reached(directory, arm),
            median if arm == baseline else estimate_words(to_one[arm]),
            estimate_words(to_constant[arm]) if arm in to_constant else "", easier.get(arm, ""),
        ]  # fmt: skip
        made.append("|" + "".join(f" {cell} |" if cell else " |" for cell in cells))
    return made


def average_words(directory: Path) -> str:
    """An average with a constant rate against a 1-Cycle: one comparison, of its own."""
    runs = samples(directory)
    found = paired_ratio(runs["tuned_average"], runs["tuned_onecycle"])
    return f"tuned_average over tuned_onecycle: {estimate_words(found)}"


def beside(directories: Sequence[Path]) -> list[str]:
    """The rows of a table with a column for each study; they have the same arms."""
    studies = {directory.name: read_study(directory) for directory in directories}
    names = [arm.name for arm in studies[directories[0].name].arms]
    made = ["| arm | " + " | ".join(studies) + " |", "|---|" + "---|" * len(studies)]
    cells: dict[str, list[str]] = {name: [] for name in names}
    for directory in directories:
        runs, baseline = samples(directory), studies[directory.name].baseline
        assert baseline is not None
        found = ratios(runs, baseline, [name for name in names if name != baseline])
        for name in names:
            if name == baseline:
                median = censored_median(list(runs[name].values()))
                cells[name].append(f"{median:,.0f} samples")
                continue
            reached = _reached(directory, name)
            missed = "" if "," not in reached and _all(reached) else f", {reached}"
            cells[name].append(estimate_words(found[name]) + missed)
    return made + [f"| {name} | {' | '.join(row)} |" for name, row in cells.items()]


def _all(reached: str) -> bool:
    """Whether all runs reached the target, by the words for it."""
    count, _, runs = reached.partition("/")
    return count == runs


def _search(study: StudyRecord, arm: str) -> tuple[str, str, str]:
    """The rate that a search has found, the rates that it tried, and the samples of that."""
    found = next((each for each in study.tunings if each.name == arm), None)
    if found is None:
        return f"{study.base_lr:g}", "0", "0"
    edge = "" if found.edge is None else f", the {found.edge}est"
    return f"{found.best:g}{edge}", str(len(found.trials)), f"{found.samples:,}"


def _easier(directory: Path) -> dict[str, str]:
    """For each arm, from its lowest to its highest ratio to 1 GPU at the targets of easier.csv."""
    found: dict[str, list[float]] = {}
    with (directory / "easier.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["arm"], []).append(float(row["ratio"] or math.inf))
    ends = {arm: (times(min(each)), times(max(each))) for arm, each in found.items()}
    return {arm: low if low == high else f"{low} to {high}" for arm, (low, high) in ends.items()}


def take(study: Path, out: Path) -> None:
    """Copy what the tables need of a study that has ended."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(study / "study.json", out)
    shutil.copy(study / "report" / "samples.csv", out)
    arms = json.loads((study / "report" / "report.json").read_text())["arms"]
    with (out / "easier.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["arm", "target", "easier_by", "ratio"])
        for arm in arms:
            for each in arm["easier_targets"]:
                row = (each["target"], each["easier_by"], each["ratio"]["ratio"])
                writer.writerow([arm["arm"], *row])


def _reached(directory: Path, arm: str) -> str:
    """How many runs reached the target, and how many of the others diverged."""
    with (directory / "samples.csv").open(newline="") as file:
        status = [row["status"] for row in csv.DictReader(file) if row["arm"] == arm]
    diverged = status.count("diverged")
    return f"{status.count('reached')}/{len(status)}" + f", {diverged} diverged" * bool(diverged)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path, nargs="+")
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("--take", action="store_true")
    given = parser.parse_args()
    if given.take:
        take(*given.study)
    elif given.beside:
        print(*beside(given.study), sep="\n")
    else:
        for study in given.study:
            print(study.name, *rows(study), average_words(study), sep="\n")


if __name__ == "__main__":
    main()
