"""task=show_schedule: a schedule drawn, nothing trained."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bsscale.cli.jobs import Job
from bsscale.cli.tasks.task import Task
from bsscale.config import TrackerConfig
from bsscale.report.options import ShowScheduleTask as Options

if TYPE_CHECKING:
    from bsscale.planning.plan import Plan

__all__ = ["ShowScheduleTask"]

log = logging.getLogger("bsscale")


class ShowScheduleTask(Task):
    """Draws a schedule in the terminal and as a figure; those of a sweep over each other."""

    options = Options

    def check(self, job: Job) -> Plan:
        return job.plan

    def describe(self, job: Job) -> str:
        from bsscale.planning.description import describe_plan

        return describe_plan(job.plan, job.dataset, job.arm)

    def run(self, job: Job) -> None:
        from bsscale.report.schedule_figure import show_schedule

        options = job.options
        assert isinstance(options, Options)
        log.info("%s\n", self.describe(job))
        show_schedule(job.plan, job.arm, options.show_samples, job.directory)

    def end_sweep(self, sweep: Path, tracker: TrackerConfig) -> bool:
        from bsscale.cli.tasks.sweeps import job_directories
        from bsscale.report.schedule_figure import overlay

        overlay(job_directories(sweep), sweep)
        return True
