"""task=report: finished runs compared, from their records alone."""

from __future__ import annotations

import logging
from pathlib import Path

from bsscale.cli.jobs import Job
from bsscale.cli.tasks.task import Task, cost
from bsscale.errors import ConfigError
from bsscale.report.options import ReportOptions as Options

__all__ = ["ReportTask"]

log = logging.getLogger("bsscale")


class ReportTask(Task[Options]):
    """Reads records and writes a page; it does not use the rest of the configuration."""

    options = Options

    def check(self, job: Job) -> None:
        _runs(self.options_of(job))

    def describe(self, job: Job) -> str:
        options = self.options_of(job)
        runs, out = ", ".join(map(str, _runs(options))), _out(job, options)
        rows = [f"{'report':>13}  on {runs}", f"{'written to':>13}  {out}"]
        return "\n".join([*rows, cost("nothing is trained: records are read")])

    def run(self, job: Job) -> None:
        from bsscale.report.write import write_report

        options = self.options_of(job)
        out = _out(job, options)
        report = write_report(_runs(options), out, options.baseline)
        log.info("%s\n", report.verdict)
        if report.comparison.arms:
            log.info("%s\n", report.table)
        for each in report.comparison.left_out:
            log.warning("left out: %s: %s", each.directory, each.reason)
        for path in report.files[:4]:
            log.info("report  %s", path)
        log.info("figures  %s", out / "figures")


def _out(job: Job, options: Options) -> Path:
    return job.directory if options.out is None else Path(options.out)


def _runs(options: Options) -> list[Path]:
    """The directories to report on."""
    from bsscale.report.read import matching

    runs = options.runs if isinstance(options.runs, list) else [options.runs]
    if not runs or not all(isinstance(each, str | int | float) and str(each) for each in runs):
        raise ConfigError(
            f"task.runs={options.runs} names no directory",
            "give one or more: task.runs=DIR, task.runs=[a,b] or 'task.runs=multirun/*/*'",
        )
    return matching([str(each) for each in runs])
