"""task=scaling: samples to the target over the batch, and the critical batch."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bsscale.cli.jobs import Job
from bsscale.cli.tasks.study import StudyTask, check_study_job, own_remedies
from bsscale.cli.tasks.task import Task, cost, log_data_notes
from bsscale.config import Config
from bsscale.errors import ConfigError
from bsscale.study.scaling_options import ScalingOptions as Options

if TYPE_CHECKING:
    from bsscale.config.points import PointsFile
    from bsscale.planning.plan import Plan
    from bsscale.report.scaling.contents import ScalingContents

__all__ = ["ScalingTask"]

log = logging.getLogger("bsscale")


class ScalingTask(Task[Options]):
    """A study with an arm at every number of GPUs and a fit; or the fit of a file of points."""

    options = Options
    starts_jobs = True
    replaces: ClassVar[Mapping[str, str]] = {
        **StudyTask.replaces,
        "gpus": "give task.gpus=[1,2,4,8], a list",
        "schedule": "give task.arms=[NAME], or 'task.arms={NAME:{schedule:cosine,rate:tuned}}'",
        "scaling": "leave it out: rates are tuned at every number of GPUs",
    }

    def check(self, job: Job) -> Plan | None:
        from bsscale.study.scaling_arms import study_of
        from bsscale.study.throughput import read_throughput

        options = self.options_of(job)
        if options.points is not None:
            _read(options)
            _refuse_training(job.hydra.overrides.task)
            return None
        read_throughput(options.samples_per_s)
        return check_study_job(job, study_of(job.config))

    def describe(self, job: Job) -> str:
        from bsscale.study.description import describe_study
        from bsscale.study.scaling_arms import study_of

        options = self.options_of(job)
        if options.work is not None:
            return cost(f"part {options.part} of {options.work}")
        if options.points is None:
            here = job.jobs is None
            return describe_study(study_of(job.config), job.dataset, job.devices_of_jobs, here)
        arms = _read(options).arms
        rows = [
            f"{'scaling':>13}  {sum(map(len, arms.values()))} points of {', '.join(arms)}",
            f"{'written to':>13}  {job.directory}",
            cost("nothing is trained: points are read and fitted"),
        ]
        return "\n".join(rows)

    def most_samples(self, job: Job) -> int:
        from bsscale.study.plan import most_samples
        from bsscale.study.scaling_arms import study_of

        if self.options_of(job).points is not None:
            return 0
        return most_samples(study_of(job.config), job.dataset, job.devices_of_jobs)

    def run(self, job: Job) -> None:
        options = self.options_of(job)
        if options.points is not None:
            _show(_fitted(options), job.directory)
            return
        from bsscale.study.part import carry_out_part
        from bsscale.study.scaling import scaling_study
        from bsscale.study.scaling_arms import study_of

        with own_remedies():
            if options.work is not None:
                carry_out_part(study_of(job.config), job.dataset, job.logging)
                return
            if job.sweep is None:  # (a sweep has shown them for all its jobs)
                log_data_notes([job])
            directory, contents = scaling_study(job.config, job.dataset, job.logging, job.jobs)
            _show(contents, directory)


def _show(contents: ScalingContents, directory: Path) -> None:
    """Write what was found, and print it."""
    from bsscale.report.scaling.tables import closing_text
    from bsscale.report.scaling.words import compared, prediction_words, verdicts
    from bsscale.report.scaling.write import write_scaling

    files = write_scaling(contents, directory)
    log.info("\n%s\n", closing_text(contents))
    for name, text in verdicts(contents).items():
        log.info("%s: %s", name, text)
    for text in (*compared(contents.arms), *prediction_words(contents), *contents.notes):
        log.info("%s", text)
    for name, path in zip(("result", "page"), files[:2], strict=True):
        log.info("%s  %s", name, path)


def _fitted(options: Options) -> ScalingContents:
    """What the points of a file say."""
    from bsscale.critical_batch import scaling
    from bsscale.report.scaling.contents import ScalingContents

    read = _read(options)
    return ScalingContents(
        title=str(options.points),
        setting=f"Samples to a target over the batch, from the points in {options.points}.",
        arms={name: scaling(points) for name, points in read.arms.items()},
        notes=read.notes,
        commands=[shlex.join(["python", "-m", "bsscale", *sys.argv[1:]])],
    )


def _read(options: Options) -> PointsFile:
    from bsscale.config.points import read_points

    assert options.points is not None
    return read_points("task.points", options.points)


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
