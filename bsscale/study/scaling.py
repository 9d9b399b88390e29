"""task=scaling: a study with an arm at every number of GPUs, then the fit of each arm.

The study searches for the rate of every arm at every batch, on seeds of its own, and finds the
target as every study does. The report runs of the smaller batches come first. What they predict for
the larger ones goes into the chain of the study before the first run there begins.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bsscale.config import Config
from bsscale.config.objectives import build_objective
from bsscale.critical_batch import Point, choice_variance, scaling
from bsscale.critical_batch.predictions import predict, score, smaller
from bsscale.data import Dataset
from bsscale.errors import RecordsError
from bsscale.records.registered_runs import RUNS
from bsscale.records.run_record import RunRecord, read_run
from bsscale.records.study_record import StudyRecord, TuningRecord
from bsscale.report.scaling.contents import ScalingContents
from bsscale.report.tables import number
from bsscale.schedules.options import FixedConfig
from bsscale.study.arms import make_arms, tuned_arms
from bsscale.study.options import StudyOptions
from bsscale.study.protocol import Stages, study
from bsscale.study.scaling_arms import arm_at, arm_options, counts, study_of
from bsscale.study.scaling_options import ScalingOptions
from bsscale.study.throughput import read_throughput
from bsscale.study.tuning import Judge
from bsscale.study.work import Jobs

__all__ = ["scaling_study"]

log = logging.getLogger(__name__)

# The predictions of an arm, in the chain of a study.
PREDICTIONS = "predictions of larger batches of {}"


def scaling_study(
    config: Config,
    dataset: Dataset,
    logs: Mapping[str, Any] | None = None,
    jobs: Jobs | None = None,
) -> tuple[Path, ScalingContents]:
    """Carry out the study, or what is left of it, and fit its arms.

    Parameters
    ----------
    config
        A run; its task is a `ScalingOptions`.
    dataset, logs, jobs
        As of a study.

    Returns
    -------
    The study's directory, and what its page shows.

    Raises
    ------
    BsscaleError
        If the study cannot be carried out.
    """
    return _Scaling(config, dataset).carry_out(logs, jobs)


class _Scaling:
    def __init__(self, config: Config, dataset: Dataset) -> None:
        assert isinstance(config.task, ScalingOptions)
        self.config, self.dataset, self.task = config, dataset, config.task
        self.counts, self.names = counts(config.task), list(arm_options(config.task))
        self.batch_of_gpu = config.micro_batch * config.grad_accum
        self.study = study_of(config)
        assert isinstance(self.study.task, StudyOptions)
        self.directory = Path(self.study.task.directory or "").absolute()

    def carry_out(
        self, logs: Mapping[str, Any] | None, jobs: Jobs | None
    ) -> tuple[Path, ScalingContents]:
        throughput = read_throughput(self.task.samples_per_s)
        batches = [float(gpus * self.batch_of_gpu) for gpus in self.counts]
        first = smaller(batches)
        rest = [batch for batch in batches if batch not in first]
        stages = None
        if rest:
            order = [
                [
                    arm_at(name, round(batch / self.batch_of_gpu))
                    for name in self.names
                    for batch in group
                ]
                for group in (first, rest)
            ]
            stages = Stages(order, lambda records: self._predicted(records, rest))
        record = study(self.study, self.dataset, logs, jobs, stages, answers=False)
        return self.directory, self._contents(record, throughput)

    def _predicted(self, records: Sequence[RunRecord], batches: Sequence[float]) -> dict[str, Any]:
        """The predictions of each arm, to be settled."""
        made = {
            name: predict(points, batches, self.task.seeds)
            for name, points in self._points(records).items()
        }
        for name, predictions in made.items():
            for batch, low, middle, high in predictions:
                log.info(
                    "predicted  %s at batch %s: %s samples (%s to %s)",
                    name, f"{batch:,.0f}", f"{middle:,.0f}", f"{low:,.0f}", f"{high:,.0f}",
                )  # fmt: skip
        return {PREDICTIONS.format(name): found for name, found in made.items()}

    def _points(self, records: Sequence[RunRecord]) -> dict[str, list[Point]]:
        """The points of each arm. A target that was met before training began costs a sample."""
        owner = {arm_at(name, gpus): name for name in self.names for gpus in self.counts}
        points: dict[str, list[Point]] = {name: [] for name in self.names}
        for record in records:
            if record.arm in owner:
                needed = record.samples_to_target
                points[owner[record.arm]].append(
                    Point(
                        float(record.global_batch),
                        None if needed is None else max(needed, 1.0),
                        float(record.budget_samples),
                        record.seed,
                    )
                )
        return points

    def _noise_scales(self, records: Sequence[RunRecord]) -> dict[str, dict[float, list[float]]]:
        """The gradient noise scale of the runs that have measured it, by arm and batch."""
        owner = {arm_at(name, gpus): name for name in self.names for gpus in self.counts}
        found: dict[str, dict[float, list[float]]] = {}
        for run in records:
            if run.arm in owner and run.noise_scale is not None:
                by_batch = found.setdefault(owner[run.arm], {})
                by_batch.setdefault(float(run.global_batch), []).append(run.noise_scale)
        return found

    def _records(self, record: StudyRecord) -> list[RunRecord]:
        found = []
        for arm in record.arms:
            for seed in record.seeds:
                try:
                    run = read_run(self.directory / RUNS / arm.name / f"seed-{seed}")
                except (RecordsError, FileNotFoundError):  # (the study has named it)
                    continue
                if run.status != "failed":
                    found.append(run)
        return found

    def _contents(
        self, record: StudyRecord, throughput: Mapping[int, float] | None
    ) -> ScalingContents:
        records = self._records(record)
        points = self._points(records)
        tuned, target = self._tunings(record), record.target
        assert target is not None
        arms = {}
        for name in self.names:
            of_arm = {gpus: tuned.get(arm_at(name, gpus)) for gpus in self.counts}
            arms[name] = scaling(
                points[name],
                shared={
                    float(gpus * self.batch_of_gpu): self._choice(found, target)
                    for gpus, found in of_arm.items()
                    if found is not None
                },
                edges=[
                    float(gpus * self.batch_of_gpu)
                    for gpus, found in of_arm.items()
                    if found is not None and found.edge is not None
                ],
            )
        diverged = sum(run.status == "diverged" for run in records)
        criterion = record.registered.criterion
        setting = (
            f"{self.config.dataset['name']}, {self.config.model['name']}, "
            f"{self.config.optimizer.name}: samples to {criterion.title} {number(record.target)}, "
            f"{self.batch_of_gpu} samples on each GPU in an update, {len(record.seeds)} seeds, "
            f"learning rates tuned at every batch."
        )
        predictions = {name: record.settled.get(PREDICTIONS.format(name), ()) for name in arms}
        return ScalingContents(
            title=record.name,
            setting=setting,
            arms=arms,
            batch_of_gpu=self.batch_of_gpu,
            notes=[
                f"{diverged} of {len(records)} runs diverged; they count as censored at their "
                f"budget of {record.budget_samples:,} samples.",
                f"The study is registered as {record.hash}, and its chain ends with {record.head}. "
                f"Its own report is in report/.",
            ],
            predictions={name: score(found, points[name]) for name, found in predictions.items()},
            samples_per_s=throughput,
            noise_scales=self._noise_scales(records),
            commands=record.commands,
        )

    def _tunings(self, record: StudyRecord) -> dict[str, TuningRecord]:
        """The search for the rate of each arm of the study, by its name."""
        assert isinstance(self.study.task, StudyOptions)
        arms = make_arms(self.study.task, self.counts[-1])
        by_name = {each.name: each for each in record.tunings}
        searched = [
            (each.gpus, each.schedule, each.own, name) for name, each in tuned_arms(arms).items()
        ]
        searched.append((1, FixedConfig(), {}, "one_gpu"))
        return {
            arm.name: by_name[name]
            for arm in arms
            for gpus, schedule, own, name in searched
            if arm.rate == "tuned" and (gpus, schedule, own) == (arm.gpus, arm.schedule, arm.own)
            and name in by_name
        }  # fmt: skip

    def _choice(self, found: TuningRecord, target: float) -> float:
        """The variance that the choice of a rate adds, from the runs of its search."""
        metric = build_objective(self.config.objective).metric(self.config.metric)
        judge = Judge(metric, None)
        runs = {
            trial.lr: [
                judge.samples_to(path.parent, target)
                for path in (self.directory / "tuning" / found.name / f"lr-{trial.lr:g}").glob(
                    "seed-*/run.json"
                )
            ]
            for trial in found.trials
        }
        return choice_variance(runs)
