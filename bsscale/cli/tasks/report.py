"""task=report: finished runs compared, from their records alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bsscale.cli.jobs import Job
from bsscale.cli.tasks.task import Task, cost
from bsscale.config import Config
from bsscale.errors import ConfigError
from bsscale.report.options import ReportOptions as Options

if TYPE_CHECKING:
    from bsscale.bridge.curves import Wanted

__all__ = ["ReportTask"]

log = logging.getLogger("bsscale")

# The options that say how curves from elsewhere are read and judged, besides the metric.
_OF_CURVES = ("direction", "target", "columns", "samples_per_step", "layout")


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
        "metric": "leave it out: the metric comes from the records; for curves from elsewhere "
        "write task.metric=NAME",
        "target": "leave it out: the target comes from the records; for curves from elsewhere "
        "write task.target=VALUE",
        "tracker": "leave it out: a report is not mirrored",
    }

    def check(self, job: Job) -> None:
        options = self.options_of(job)
        _wanted(options)
        _runs(options)

    def describe(self, job: Job) -> str:
        options = self.options_of(job)
        runs, out = ", ".join(map(str, _runs(options))), _out(job, options)
        rows = [f"{'report':>13}  on {runs}", f"{'written to':>13}  {out}"]
        if (wanted := _wanted(options)) is not None:
            target = "no target" if wanted.target is None else f"target {wanted.target:g}"
            better = "higher" if wanted.criterion.sign > 0 else "lower"
            judged = f"{wanted.criterion.title}, {better} is better, {target}"
            rows.insert(1, f"{'curves by':>13}  {judged}")
        return "\n".join([*rows, cost("nothing is trained: records and curves are read")])

    def run(self, job: Job) -> None:
        from bsscale.report.closing import closing_lines, closing_table
        from bsscale.report.write import write_report

        options = self.options_of(job)
        out = _out(job, options)
        command = list(job.hydra.overrides.task)
        report = write_report(_runs(options), out, options.baseline, _wanted(options), command)
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


def _wanted(options: Options) -> Wanted | None:
    """How curves from elsewhere are judged; None where no metric is given.

    Raises
    ------
    ConfigError
        For a value that an option cannot have, or an option that does nothing without the metric.
    """
    from bsscale.bridge.curves import Names, wanted_of

    if options.metric is None:
        for name in _OF_CURVES:
            if getattr(options, name) != getattr(Options(), name):
                raise ConfigError(
                    f"task.{name} is given without task.metric: it is of curves from elsewhere, "
                    "and records have their own",
                    "leave it out, or give the metric that judges the curves: task.metric=NAME",
                )
        return None
    given = options.columns
    return wanted_of(
        options.metric,
        options.direction,
        options.target,
        Names(given.arm, given.seed, given.samples, given.metric),
        options.samples_per_step,
        options.layout,
    )


def _runs(options: Options) -> list[Path]:
    """The directories and files to report on."""
    from bsscale.report.read import matching

    runs = options.runs if isinstance(options.runs, list) else [options.runs]
    if not runs or not all(isinstance(each, str | int | float) and str(each) for each in runs):
        raise ConfigError(
            f"task.runs={options.runs} names no directory and no file",
            "give one or more: task.runs=DIR, task.runs=[a,b], 'task.runs=multirun/*/*', or with "
            "task.metric a file of curves: task.runs=curves.csv",
        )
    return matching([str(each) for each in runs])
