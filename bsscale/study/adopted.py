"""Runs that exist already, in the place of a study's arm at 1 GPU: found, checked, judged."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bsscale.bridge.curves import Wanted, curve_files
from bsscale.config import Config
from bsscale.errors import BsscaleError, ConfigError, RecordsError
from bsscale.files.replace import plain
from bsscale.objectives import Criterion
from bsscale.objectives.target import Crossing, crossing
from bsscale.planning.plan import Plan
from bsscale.records.chain import digest
from bsscale.records.evaluation import EvalPoint, encode, read_evals
from bsscale.records.identity import NOT_IN_ARM, differences
from bsscale.records.registered_runs import RUNS
from bsscale.records.run_record import RunRecord, read_run
from bsscale.records.secrets import without_secrets
from bsscale.report.read import FoundRun, find, matching
from bsscale.study.arms import Arm
from bsscale.study.options import StudyOptions
from bsscale.study.registered import OF_ARMS
from bsscale.study.specs import Specs

__all__ = ["Adopted", "read_adopted"]

# Options of a run that its global batch stands for, or that only say how often it is evaluated.
_SAID_OTHERWISE = ("micro_batch", "grad_accum", "eval_interval_samples")
# Options of a trainer that change what one run trains; the others are about searches and passes.
_TRAINS = ("name", "command", "momentum")


@dataclass(frozen=True)
class Adopted:
    """Runs that exist already, as the baseline of a study.

    Attributes
    ----------
    source
        What ``task.adopt`` names.
    arm
        The baseline.
    runs
        By their seeds: at least the report seeds.
    base_lr
        The rate that they were trained at.
    criterion
        What judges them.
    within
        The most samples whose evaluations fix the target: a pass, or the budget if it is less.
    """

    source: str
    arm: Arm
    runs: Mapping[int, FoundRun]
    base_lr: float
    criterion: Criterion
    within: int

    def best_values(self, seeds: Sequence[int]) -> list[float]:
        """The best value of each run within a pass; runs without one are left out."""
        best = (self._best_value(self.runs[seed]) for seed in seeds)
        return [value for value in best if value is not None]

    def hit(self, seed: int, target: float, budget: int | None) -> Crossing | None:
        """Where a run has reached a target within a budget."""
        run = self.runs[seed]
        points = within(run.evals, budget)
        return crossing(
            [point.samples for point in points],
            [point.metrics.get(self.criterion.name) for point in points],
            target,
            self.criterion.direction,
            ended_itself=run.record.trainer == "script",
        )

    def samples_to(self, seeds: Sequence[int], target: float, budget: int | None) -> list[float]:
        """The samples of each run to a target; infinite for a miss."""
        hits = (self.hit(seed, target, budget) for seed in seeds)
        return [math.inf if hit is None else hit.samples for hit in hits]

    def check_target(self, seeds: Sequence[int], target: float, budget: int | None) -> None:
        """Raise ConfigError if half of the runs or more have not reached the target."""
        reached = self.samples_to(seeds, target, budget)
        if not math.isfinite(statistics.median(reached)):
            count = sum(map(math.isfinite, reached))
            raise ConfigError(
                f"{count} of the {len(reached)} runs of task.adopt={self.source} have reached the "
                f"target {target:g}, and no arm can be compared with runs that miss it",
                "give an easier target=VALUE, or a larger task.margin",
            )

    def entries(self, seeds: Sequence[int]) -> dict[str, Any]:
        """What the chain of the study has of the runs, by names of its own."""
        return {f"adopted seed-{seed}": self.entry(seed) for seed in seeds}

    def entry(self, seed: int) -> dict[str, Any]:
        """Where a run comes from, its evaluations' digest, and what it has for the target."""
        run = self.runs[seed]
        if run.record.adopted is not None:
            return run.record.adopted
        origin = run.imported
        return {
            "source": str(run.directory),
            "format": "records" if origin is None else origin.format,
            "has_seed": origin is None or origin.has_seed,
            "sha256": digest([encode(point) for point in run.evals]),
            "best_value": self._best_value(run),
        }

    def words(self) -> str:
        """For a person."""
        formats = ", ".join(sorted({self.entry(seed)["format"] for seed in self.runs}))
        return (
            f"{len(self.runs)} runs of {self.source} ({formats}) as {self.arm.name}, unregistered; "
            "the target follows from them"
        )

    def _best_value(self, run: FoundRun) -> float | None:
        points = within(run.evals, self.within)
        return self.criterion.best(point.metrics.get(self.criterion.name) for point in points)


def within(points: Sequence[EvalPoint], samples: int | None) -> list[EvalPoint]:
    """The evaluations up to so many samples; None: all."""
    return [point for point in points if samples is None or point.samples <= samples]


def read_adopted(task: StudyOptions, specs: Specs, arm: Arm) -> Adopted | None:
    """The runs that a study adopts: those in its directory already, else those of the source.

    Parameters
    ----------
    task, specs
        Of the study; ``task.adopt`` is a directory of a study, of a multirun or of runs, or a file
        of curves.
    arm
        Its baseline.

    Returns
    -------
    None if it adopts none.

    Raises
    ------
    ConfigError
        If they are not those of the baseline, as far as that is known.
    """
    source, config, seeds = task.adopt, specs.config, task.seed_list()
    if source is None:
        return None
    plan, most = specs.probe(gpus=arm.gpus), config.budget_samples
    runs = _kept(specs.directory / RUNS / arm.name, seeds)
    faults: list[BsscaleError] = []
    if runs is None:
        runs = _selected(source, config, arm, plan, faults)
    by_seed = {run.record.seed: run for run in runs}
    _check_seeds(source, runs, seeds, faults)
    rates = {run.record.base_lr for run in runs} - {None}
    base_lr = config.base_lr if config.base_lr is not None else next(iter(rates), None)
    if base_lr is None:
        raise ConfigError(
            f"the learning rate of the runs of task.adopt={source} is not in their records",
            "give it: base_lr=RATE; the rates of the other arms follow from it",
        )
    return Adopted(
        source,
        arm,
        {seed: by_seed[seed] for seed in seeds},
        base_lr,
        plan.metric.criterion,
        specs.one_pass if most is None else min(specs.one_pass, most),
    )


def _kept(directory: Path, seeds: Sequence[int]) -> list[FoundRun] | None:
    """The runs that an earlier start has adopted; None unless they are all there."""
    found = []
    for seed in seeds:
        path = directory / f"seed-{seed}"
        try:
            record = read_run(path)
            if record.adopted is None:
                return None
            found.append(FoundRun(path, record, read_evals(path)))
        except RecordsError:
            return None
    return found


def _selected(
    source: str, config: Config, arm: Arm, plan: Plan, faults: list[BsscaleError]
) -> list[FoundRun]:
    """The runs of a source that can be the baseline's; `faults` takes what is wrong with others."""
    found = [run for run in _found(source, plan) if run.record.status != "failed"]
    if of_studies := [run for run in found if run.study is not None]:
        found = [run for run in of_studies if run.study and _is_baseline(run.record, run.study)]
    runs = []
    for run in found:
        fault = next(_faults(run.record, config, arm, plan), None)
        if fault is None:
            runs.append(run)
        else:
            fact, remedy = fault
            faults.append(ConfigError(f"task.adopt={source}: {run.directory} {fact}", remedy))
    if not runs:
        raise faults[0] if faults else ConfigError(
            f"task.adopt={source} holds no run that has ended",
            "name a directory of a study, of a multirun or of runs, or a file of curves",
        )  # fmt: skip
    names = list(dict.fromkeys(run.record.arm for run in runs))
    if len(names) > 1 and arm.name not in names:
        raise ConfigError(
            f"task.adopt={source} holds several arms: {', '.join(names)}",
            f"name a directory or a file with one of them only, or call the arm at 1 GPU "
            f"{arm.name}; base_lr=RATE tells apart those with different rates",
        )
    return [run for run in runs if len(names) == 1 or run.record.arm == arm.name]


def _found(source: str, plan: Plan) -> list[FoundRun]:
    try:
        paths = matching([source])
    except RecordsError:
        raise ConfigError(
            f"task.adopt={source}: there is no such directory or file",
            "name a directory of a study, of a multirun or of runs, or a file of curves",
        ) from None
    if runs := find([path for path in paths if path.is_dir()]).runs:
        return runs
    files = [path for path in paths if not path.is_dir() or curve_files(path)]
    if not files:
        return []
    try:
        return find(files, Wanted(plan.metric.criterion)).runs
    except RecordsError as error:
        raise ConfigError(
            f"task.adopt={source}: {error.fact}",
            f"a file of curves has the columns arm, seed, samples and {plan.metric.name}; "
            "docs/your_curves.md describes the formats",
        ) from error


def _is_baseline(record: RunRecord, study: Any) -> bool:
    return bool(record.arm == study.record.baseline)


def _faults(record: RunRecord, config: Config, arm: Arm, plan: Plan) -> Iterator[tuple[str, str]]:
    """What says that a run is none of the baseline's: fact and remedy. What is unknown is not."""
    metric = plan.metric
    if (record.metric, record.direction) != (metric.name, metric.direction):
        yield (
            f"is judged by {record.metric} ({record.direction}), and the study by {metric.name} "
            f"({metric.direction})",
            f"give metric={record.metric}, or adopt curves of {metric.name}",
        )
    if record.global_batch not in (0, plan.global_batch):
        yield (
            f"has a global batch of {record.global_batch:,}, and {arm.name} has "
            f"{plan.global_batch:,}",
            "give the micro_batch that it was trained with, or adopt other runs",
        )
    if record.schedule not in ("", arm.schedule.name):
        yield (
            f"has the schedule {record.schedule}, and {arm.name} has {arm.schedule.name}",
            "adopt runs with that schedule",
        )
    if record.base_lr is not None and config.base_lr not in (None, record.base_lr):
        yield (
            f"has base_lr={record.base_lr:g}, and base_lr={config.base_lr:g} is given",
            "leave base_lr out, or adopt runs with that rate",
        )
    if None not in (record.data_key, plan.data_key) and record.data_key != plan.data_key:
        yield (
            f"is of other data: its data_key is {record.data_key}, and {plan.data_key} is the "
            "study's",
            "give the data that it was trained on, or adopt other runs",
        )
    if changed := _other_settings(record, config, plan):
        listed = "; ".join(f"{key} was {then} and is now {now}" for key, then, now in changed)
        yield (
            f"was trained otherwise: {listed}",
            "give the options that it was trained with, or adopt other runs",
        )


def _other_settings(record: RunRecord, config: Config, plan: Plan) -> list[tuple[str, Any, Any]]:
    """The options that change the training and differ; none where a record has no options."""
    if not record.config:
        return []
    own = plain(without_secrets(asdict(config)))
    apart = {*NOT_IN_ARM, *OF_ARMS, *_SAID_OTHERWISE}
    wanted = {key: value for key, value in own.items() if key not in apart}
    then = {key: record.config.get(key) for key in wanted}
    for settings in (wanted, then):
        if isinstance(trainer := settings.get("trainer"), Mapping):
            settings["trainer"] = {key: trainer.get(key) for key in _TRAINS}
    return differences({**then, "data_key": record.data_key}, {**wanted, "data_key": plan.data_key})


def _check_seeds(
    source: str, runs: Sequence[FoundRun], seeds: Sequence[int], faults: Sequence[BsscaleError]
) -> None:
    counts = Counter(run.record.seed for run in runs)
    if twice := [str(seed) for seed, count in counts.items() if count > 1]:
        raise ConfigError(
            f"task.adopt={source} holds several runs of the seeds {', '.join(twice)}",
            "name a directory or a file with one run of each seed",
        )
    if missing := [str(seed) for seed in seeds if seed not in counts]:
        known = ", ".join(str(seed) for seed in sorted(counts))
        why = f" ({faults[0].fact})" if faults and isinstance(faults[0], ConfigError) else ""
        raise ConfigError(
            f"task.adopt={source} has runs of the seeds {known}, and the study compares the seeds "
            f"{', '.join(map(str, seeds))}: {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing{why}",
            "give task.seeds=NUMBER and task.first_seed=SEED of the runs there are",
        )
