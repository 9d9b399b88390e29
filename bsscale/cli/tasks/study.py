"""task=study: the whole protocol, or a part of it in a job of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bsscale.cli.jobs import Job
from bsscale.cli.launchers.study_jobs import jobs_of
from bsscale.cli.tasks.task import Task
from bsscale.study.options import StudyTask as Options

if TYPE_CHECKING:
    from bsscale.planning.plan import Plan

__all__ = ["StudyTask"]


class StudyTask(Task):
    """Registers, tunes, trains and reports; on a cluster its stacks are jobs."""

    options = Options
    starts_jobs = True

    def check(self, job: Job) -> Plan | None:
        from bsscale.study.protocol import check_study
        from bsscale.study.worker import plan_part

        if _options(job).work is not None:
            return plan_part(job.config, job.dataset, job.devices)
        check_study(job.config, job.dataset, job.devices)
        return None

    def describe(self, job: Job) -> str:
        from bsscale.study.protocol import describe_study

        return describe_study(job.config, job.dataset, job.devices)

    def run(self, job: Job) -> None:
        from bsscale.study.protocol import study
        from bsscale.study.worker import carry_out_part

        if _options(job).work is not None:
            carry_out_part(job.config, job.dataset, job.logging)
            return
        assert job.function is not None
        jobs = None if job.sweep is not None else jobs_of(job.function, job.hydra)
        study(job.config, job.dataset, job.logging, jobs)


def _options(job: Job) -> Options:
    options = job.options
    assert isinstance(options, Options)
    return options
