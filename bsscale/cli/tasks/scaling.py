"""task=scaling: samples to the target over the batch, and the critical batch."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING

from bsscale.cli.jobs import Job
from bsscale.cli.tasks.task import Task, cost
from bsscale.config import Config
from bsscale.errors import ConfigError
from bsscale.study.scaling_options import ScalingOptions as Options

if TYPE_CHECKING:
    from bsscale.config.points import PointsFile

__all__ = ["ScalingTask"]

log = logging.getLogger("bsscale")


class ScalingTask(Task[Options]):
    """Fits the points of a file."""

    options = Options
    trains = False

    def check(self, job: Job) -> None:
        _points(self.options_of(job))
        _refuse_training(job.hydra.overrides.task)

    def describe(self, job: Job) -> str:
        read = _points(self.options_of(job))
        points = sum(map(len, read.arms.values()))
        rows = [
            f"{'scaling':>13}  {points} points of {', '.join(read.arms)}",
            f"{'written to':>13}  {job.directory}",
            cost("nothing is trained: points are read and fitted"),
        ]
        return "\n".join(rows)

    def run(self, job: Job) -> None:
        from bsscale.critical_batch import scaling
        from bsscale.report.scaling.contents import ScalingContents
        from bsscale.report.scaling.tables import closing_text
        from bsscale.report.scaling.words import compared, verdicts
        from bsscale.report.scaling.write import write_scaling

        options = self.options_of(job)
        read = _points(options)
        contents = ScalingContents(
            title=str(options.points),
            setting=f"Samples to a target over the batch, from the points in {options.points}.",
            arms={name: scaling(points) for name, points in read.arms.items()},
            notes=read.notes,
            commands=[shlex.join(["python", "-m", "bsscale", *sys.argv[1:]])],
        )
        files = write_scaling(contents, job.directory)
        log.info("%s\n", closing_text(contents))
        for name, text in verdicts(contents).items():
            log.info("%s: %s", name, text)
        for text in (*compared(contents.arms), *read.notes):
            log.info("%s", text)
        for name, path in zip(("result", "page"), files[:2], strict=True):
            log.info("%s  %s", name, path)


def _refuse_training(overrides: Iterable[str]) -> None:
    """Raise ConfigError for an option that was typed and is of a training.

    The file of an experiment may serve several tasks, so its options are not checked.
    """
    runs = {option.name for option in fields(Config)} - {"task", "dry_run"}
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        of_task = key.startswith("task.") and key != "task.points"
        if (key.partition(".")[0] in runs or of_task) and override != "tracker=none":
            raise ConfigError(
                f"{override} does nothing with task.points, which are fitted without training",
                "leave it out, or leave task.points out to train",
            )


def _points(options: Options) -> PointsFile:
    from bsscale.config.points import read_points

    if options.points is None:
        raise ConfigError("task=scaling has no points", "give task.points=FILE")
    return read_points("task.points", options.points)
