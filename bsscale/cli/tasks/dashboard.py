"""task=dashboard: a W&B workspace and a W&B report, built from code."""

from __future__ import annotations

import logging

from bsscale.cli.jobs import Job
from bsscale.cli.tasks.task import Task
from bsscale.tracking.options import DashboardTask as Options

__all__ = ["DashboardTask"]

log = logging.getLogger("bsscale")


class DashboardTask(Task):
    """Writes both as JSON, and publishes them if it is told where."""

    options = Options

    def check(self, job: Job) -> None:
        _options(job).destination()

    def describe(self, job: Job) -> str:
        options = _options(job)
        options.destination()
        published = "not published" if options.publish is None else f"sent to {options.publish}"
        return f"a W&B workspace and report, written to {job.directory} and {published}"

    def run(self, job: Job) -> None:
        from bsscale.tracking.dashboard import build_dashboard

        options = _options(job)
        dashboard = build_dashboard(*options.destination())
        for path in dashboard.write(job.directory):
            log.info("dashboard  %s", path)
        if options.publish is not None:
            for url in dashboard.publish():
                log.info("W&B  %s", url)


def _options(job: Job) -> Options:
    options = job.options
    assert isinstance(options, Options)
    return options
