"""task=report: finished runs compared, from their records alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import ClassVar

from bsscale.cli.jobs import Job
from bsscale.cli.tasks.task import Task, cost
from bsscale.config import Config
from bsscale.errors import ConfigError
from bsscale.report.options import ReportOptions as Options

__all__ = ["ReportTask"]

log = logging.getLogger("bsscale")


class ReportTask(Task[Options]):
    """Reads records and writes a page; it does not use the rest of the configuration."""

    options = Options
    trains = False
    replaces: ClassVar[Mapping[str, str]] = {
        **{
            option.name: "leave it out: what was trained comes from the records"
            for option in fields(Config)
            if option.name not in ("task", "dry_run")
        },
        "metric": "leave it out: the metric comes from the records",
        "target": "leave it out: the target comes from the records",
        "tracker": "leave it out: a report is not mirrored",
    }

    def check(self, job: Job) -> None:
        _runs(self.options_of(job))

    def describe(self, job: Job) -> str:
        options = self.options_of(job)
        runs, out = ", ".join(map(str, _runs(options))), _out(job, options)
        rows = [f"{'report':>13}  on {runs}", f"{'written to':>13}  {out}"]
        return "\n".join([*rows, cost("nothing is trained: records are read")])

    def run(self, job: Job) -> None:
        from bsscale.report.closing import closing_lines, closing_table
        from bsscale.report.write import write_report

        options = self.options_of(job)
        out = _out(job, options)
        report = write_report(_runs(options), out, options.baseline)
        if report.comparison.arms:
            log.info("%s\n", closing_table(report.comparison))
        log.info("%s", closing_lines(report.answers, report.files[0]))
        for each in report.comparison.left_out:
            log.warning("left out: %s: %s", each.directory, each.reason)
        for path in report.files[1:4]:
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
