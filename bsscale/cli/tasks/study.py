"""task=study: the whole protocol, or a part of it in a job of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from bsscale.cli.jobs import Job
from bsscale.cli.tasks.task import Task, check_model, cost, log_data_notes
from bsscale.config import Config
from bsscale.errors import BsscaleError
from bsscale.records.directories import error_in_study
from bsscale.study.options import StudyOptions as Options

if TYPE_CHECKING:
    from bsscale.planning.plan import Plan

__all__ = ["StudyTask", "check_study_job", "own_remedies"]


class StudyTask(Task[Options]):
    """Registers, tunes, trains and reports; on a cluster its stacks are jobs."""

    options = Options
    starts_jobs = True
    replaces: ClassVar[Mapping[str, str]] = {
        "schedule": "give it to an arm: '+task.arms.NAME={schedule:{name:cosine}}'",
        "seed": "give task.first_seed, and task.seeds for their number",
        "stop_at_target": "leave it out: a run of a study stops at its target",
        "budget_passes": "give budget_samples, or task.budget_factor",
        "resume": "leave it out: a study always continues",
    }

    def check(self, job: Job) -> Plan | None:
        return check_study_job(job, job.config)

    def describe(self, job: Job) -> str:
        from bsscale.study.description import describe_study

        task = self.options_of(job)
        if task.work is not None:
            return cost(f"part {task.part} of {task.work}")
        return describe_study(job.config, job.dataset, job.devices_of_jobs, here=job.jobs is None)

    def most_samples(self, job: Job) -> int:
        from bsscale.study.plan import most_samples

        return most_samples(job.config, job.dataset, job.devices_of_jobs)

    def run(self, job: Job) -> None:
        from bsscale.study.part import carry_out_part
        from bsscale.study.protocol import study

        with own_remedies():
            if self.options_of(job).work is not None:
                carry_out_part(job.config, job.dataset, job.logging)
                return
            if job.sweep is None:  # (a sweep has shown them for all its jobs)
                log_data_notes([job])
            study(job.config, job.dataset, job.logging, job.jobs)


@contextmanager
def own_remedies() -> Iterator[None]:
    """Whatever a run or a range test within the study refuses: the study's options remedy it."""
    try:
        yield
    except BsscaleError as error:
        raise error_in_study(error) from error.__cause__


def check_study_job(job: Job, config: Config) -> Plan | None:
    """Check a job that carries out a study, or a part of one; see `Task.check`.

    Parameters
    ----------
    job
        The job.
    config
        The study's configuration; its task is a `StudyOptions`.
    """
    from bsscale.planning.workers import choose_workers, refuse_workers
    from bsscale.study.part import plan_part
    from bsscale.study.plan import check_study

    assert isinstance(config.task, Options)
    with own_remedies():
        if config.task.work is not None:
            return plan_part(config, job.dataset, job.devices)
        if job.jobs is not None:
            refuse_workers(
                config.workers,
                "with hydra/launcher of a cluster, whose jobs train one stack each",
                "leave workers out",
            )
        runs = check_study(config, job.dataset, job.devices_of_jobs)
        if job.jobs is None:
            choose_workers(config.workers, [run.plan for run in runs], job.devices)
        for run in runs:
            check_model(run.plan, job.dataset)
    return None
