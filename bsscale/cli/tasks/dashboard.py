"""task=dashboard: a W&B workspace and a W&B report, built from code."""

from __future__ import annotations

import logging

from bsscale.cli.jobs import Job
from bsscale.cli.tasks.task import Task, cost
from bsscale.config.objectives import build_objective
from bsscale.objectives import Criterion
from bsscale.tracking.options import DashboardOptions as Options

__all__ = ["DashboardTask"]

log = logging.getLogger("bsscale")


class DashboardTask(Task[Options]):
    """Writes both as JSON, and publishes them if task.publish is given."""

    options = Options
    trains = False

    def check(self, job: Job) -> None:
        from bsscale.tracking.dashboard import check_dashboard

        options = self.options_of(job)
        options.destination()
        options.only()
        _judged_by(job)
        check_dashboard()

    def describe(self, job: Job) -> str:
        options = self.options_of(job)
        publish = options.publish
        only = {"metric": _judged_by(job)[0].name, **options.only()}
        rows = [
            f"{'dashboard':>13}  a W&B workspace and a W&B report",
            f"{'for runs with':>13}  {' '.join(f'{key}={value}' for key, value in only.items())}",
            f"{'written to':>13}  {job.directory}",
            f"{'sent to':>13}  {'nowhere' if publish is None else publish}",
            cost("nothing is trained"),
        ]
        return "\n".join(rows)

    def run(self, job: Job) -> None:
        from bsscale.tracking.dashboard import build_dashboard

        options = self.options_of(job)
        dashboard = build_dashboard(*options.destination(), *_judged_by(job), options.only())
        for path in dashboard.write(job.directory):
            log.info("dashboard  %s", path)
        if options.publish is not None:
            for url in dashboard.publish():
                log.info("W&B  %s", url)


def _judged_by(job: Job) -> tuple[Criterion, str]:
    """The metric that judges the shown runs, and the metric that is their validation loss."""
    objective = build_objective(job.config.objective)
    return objective.metric(job.config.metric).criterion, objective.loss
