"""task=show_schedule: a schedule drawn, nothing trained."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bsscale.cli.jobs import Job
from bsscale.cli.tasks.task import Task, cost, plan_text
from bsscale.config import TrackerOptions
from bsscale.errors import ConfigError
from bsscale.report.options import ShowScheduleOptions as Options

if TYPE_CHECKING:
    from bsscale.planning.plan import Plan

__all__ = ["ShowScheduleTask"]

log = logging.getLogger("bsscale")


class ShowScheduleTask(Task[Options]):
    """Draws a schedule in the terminal and as a figure; those of a sweep over each other."""

    options = Options
    trains = False

    def check(self, job: Job) -> Plan:
        samples = self.options_of(job).show_samples
        if samples is not None and samples < 1:
            raise ConfigError(
                f"task.show_samples={samples} is below 1", "give task.show_samples=1 or more"
            )
        return job.plan

    def describe(self, job: Job) -> str:
        return f"{plan_text(job)}\n{cost('nothing is trained: the schedule is drawn')}"

    def run(self, job: Job) -> None:
        from bsscale.report.schedule_figure import show_schedule

        log.info("%s\n", plan_text(job))
        show_schedule(job.plan, job.arm, self.options_of(job).show_samples, job.directory)

    def end_sweep(self, sweep: Path, tracker: TrackerOptions) -> bool:
        """Draw the schedules over each other."""
        from bsscale.cli.tasks.sweeps import job_directories
        from bsscale.report.schedule_figure import overlay

        overlay(job_directories(sweep), sweep)
        return True
