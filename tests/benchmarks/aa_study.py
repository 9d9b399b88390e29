"""How often the report of a study tells identical arms apart (an A/A test), with real training.

    python -m tests.benchmarks.aa_study --out DIRECTORY

Each of 20 studies has a baseline and 3 arms on 10 seeds. All arms are the same training: a logistic
model on synthetic data, 640 updates at one GPU. In a study, arms share the order of the samples and
the initial weights, so that identical arms would be equal to the bit. Here each arm has random
seeds of its own, and is reported under the seeds 0 to 9. The target follows from 5 more runs.
Printed is in how many studies an arm was told apart from the baseline:

primary
    the primary arm, by its own interval;
others
    any other arm, by the interval that holds together with those of all arms;
alone
    any arm, by an interval of its own: this would be wrong to use for several arms.

At a confidence of 95%, one of 20 studies is expected among the first, and at most one among the
others. A killed command goes on where it was. This is what it prints by default:

    target 0.7701, missed by 101 of 800 runs
    told apart, of 20 studies of 10 seeds:
      primary   0
      others    0
      alone     1
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from bsscale.data import Dataset, load_dataset
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.records.run_record import RunRecord
from bsscale.records.study_record import StudyRecord
from bsscale.report.comparison import Comparison
from bsscale.report.read import FoundRun, FoundStudy, Sources
from bsscale.report.summarize import summarize
from bsscale.study.arms import make_arms
from bsscale.study.options import StudyOptions
from bsscale.study.registered import to_register
from bsscale.study.runs import Runs
from bsscale.training.spec import RunSpec
from bsscale.workers import Workers
from tests.helpers import SYNTHETIC, small_config

BASELINE, PRIMARY = "baseline", "arm_1"
MARGIN = 0.005
CONFIG = small_config(eval_interval_samples=1024, checkpoint_interval_samples=10**9, gpus=1)


def spec(directory: Path, seed: int, target: float | None, dataset: Dataset) -> RunSpec:
    config = replace(CONFIG, seed=seed, target=target)
    plan = make_plan(config, dataset.train.samples_per_pass, Devices(cuda=0), dataset.key)
    if target is None:
        plan = plan.with_target(None, "none: it is being found")
    return RunSpec(plan, directory / f"seed-{seed}", arm="the arm", group=str(directory))


def train(specs: Sequence[RunSpec], dataset: Dataset, out: Path) -> list[RunRecord]:
    """Train what is not finished."""
    with Workers("auto", Devices(cuda=0)) as workers:
        records = Runs(out, dataset, workers).train(specs)
    return [record for record in records if record is not None]


def report(number: int, records: Sequence[RunRecord], arms: Sequence[str]) -> Comparison:
    """One study: its runs by arm and seed, as its report compares them."""
    seeds = len(records) // len(arms)
    given = {
        arm: {"schedule": "fixed", "gpus": 1, "role": "baseline" if arm == BASELINE else "arm"}
        for arm in arms
    }
    task = StudyOptions(arms=given, seeds=seeds, primary=PRIMARY)
    config = replace(CONFIG, task=task)
    registered = to_register(config, make_arms(task, 1), [])
    name = f"study {number}"
    study = FoundStudy(Path(name), StudyRecord(name=name, hash=name, registered=registered))
    runs = [
        FoundRun(
            Path(f"{name}/{arms[k // seeds]}/seed-{k % seeds}"),
            msgspec.structs.replace(record, arm=arms[k // seeds], seed=k % seeds),
            (),
            study,
        )
        for k, record in enumerate(records)
    ]
    return summarize(Sources(runs=runs, studies=[study]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the runs are recorded")
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--arms", type=int, default=3, help="beside the baseline")
    options = parser.parse_args()
    out = options.out.absolute()
    dataset = load_dataset(SYNTHETIC)
    arms = [BASELINE, *(f"arm_{k + 1}" for k in range(options.arms))]
    fixed = [spec(out / "target", 2_000_000 + k, None, dataset) for k in range(5)]
    best = [r.best_value for r in train(fixed, dataset, out) if r.best_value is not None]
    target = statistics.median(best) - MARGIN
    each = len(arms) * options.seeds
    seeds = range(options.studies * each)
    specs = [spec(out / "runs", seed, target, dataset) for seed in seeds]
    records = train(specs, dataset, out)
    apart: dict[str, list[int]] = {"primary": [], "others": [], "alone": []}
    for number in range(options.studies):
        comparison = report(number, records[number * each : (number + 1) * each], arms)
        compared = [arm for arm in comparison.arms if not arm.is_baseline]
        judged = {a.record.arm: a.judged for a in compared if a.judged is not None}
        wrong = [name for name, estimate in judged.items() if estimate.told_apart]
        if PRIMARY in wrong:
            apart["primary"].append(number)
        if set(wrong) - {PRIMARY}:
            apart["others"].append(number)
        if any(arm.ratio is not None and arm.ratio.told_apart for arm in compared):
            apart["alone"].append(number)
        for arm in compared:
            if arm.record.arm in wrong:
                print(f"study {number}, {arm.record.arm}: {arm.verdict}")
    missed = sum(record.samples_to_target is None for record in records)
    print(f"target {target:.4f}, missed by {missed} of {len(records)} runs")
    print(f"told apart, of {options.studies} studies of {options.seeds} seeds:")
    for name, found in apart.items():
        print(f"  {name:8}{len(found):3}")


if __name__ == "__main__":
    main()
