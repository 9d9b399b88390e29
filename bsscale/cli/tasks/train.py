"""task=train: one run."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from bsscale.cli.jobs import Job
from bsscale.cli.tasks.task import Task, check_model, cost, plan_text
from bsscale.config import TaskOptions, TrackerOptions

if TYPE_CHECKING:
    from bsscale.data import Dataset
    from bsscale.planning.plan import Plan
    from bsscale.training.spec import RunSpec

__all__ = ["TrainTask"]

log = logging.getLogger("bsscale")


class TrainTask(Task[TaskOptions]):
    """Trains one run; several at once where a sweep has collected them."""

    options = TaskOptions
    one_run = True

    def check(self, job: Job) -> Plan:
        from bsscale.planning.workers import refuse_workers
        from bsscale.training.resume import find_start

        if job.sweep is None:
            refuse_workers(
                job.config.workers,
                "with one run: workers train the runs of a sweep or a study",
                "leave workers out; executor=ddp trains one run over several processes",
            )
        elif (launcher := job.hydra.runtime.choices["hydra/launcher"]) != "stacked":
            refuse_workers(
                job.config.workers,
                f"with hydra/launcher={launcher}, which starts each run by itself",
                "leave workers out, or give hydra/launcher=stacked",
            )
        if job.devices.world is None:  # (of many processes, rank 0 looks and tells the others)
            find_start(job.directory, job.plan)
        if job.devices.world is None or job.dry_run:  # (ranks try their model when they have met)
            check_model(job.plan, job.dataset)
        return job.plan

    def describe(self, job: Job) -> str:
        from bsscale.planning.description import describe_hours

        samples = self.most_samples(job)
        hours = describe_hours(samples, job.config)
        return f"{plan_text(job)}\n{cost(f'at most {samples:,} samples{hours}')}"

    def most_samples(self, job: Job) -> int:
        return job.plan.steps * job.plan.global_batch

    def run(self, job: Job) -> None:
        from bsscale.training.result import describe_result
        from bsscale.workers.trainers import trainer_of

        spec = job.run_spec()
        if job.sweep is not None:
            _warn(job)
        else:
            log.info("%s\n", plan_text(job))
        record = trainer_of(job.config).run(spec, job.dataset)
        if record is not None and job.sweep is None:
            log.info("\n%s", describe_result(record, spec.directory))

    def collect(self, job: Job) -> tuple[RunSpec, Dataset]:
        _warn(job)
        return job.run_spec(), job.dataset

    def end_sweep(self, sweep: Path, tracker: TrackerOptions) -> bool:
        """Compare the runs: one table, one comparison.json, one W&B run."""
        from bsscale.cli.tasks.sweeps import job_directories
        from bsscale.files.replace import write_json
        from bsscale.report.closing import closing_table
        from bsscale.report.summarize import compare
        from bsscale.tracking.tracker import mirror_comparison

        comparison = compare(job_directories(sweep))
        path = sweep / "comparison.json"
        write_json(path, comparison.as_dict())
        mirror_comparison(tracker, sweep, path)
        if comparison.arms:
            log.info("\n%s\n", closing_table(comparison))
        for failure in comparison.failed:
            log.error("failed: %s: %s", failure.directory, failure.reason)
        log.info("comparison  %s", path)
        if comparison.arms:
            words = ["task=report", f"task.runs={sweep}", f"task.out={sweep / 'report'}"]
            log.info("report with  %s", shlex.join(["python", "-m", "bsscale", *words]))
        return not comparison.failed


def _warn(job: Job) -> None:
    for warning in job.plan.warnings:
        log.warning("warning: %s", warning)
