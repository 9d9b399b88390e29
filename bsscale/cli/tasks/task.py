"""The base class of all tasks."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from bsscale.cli.jobs import Job
from bsscale.config import TaskOptions, TrackerOptions, TrainerOptions
from bsscale.errors import ConfigError

if TYPE_CHECKING:
    from bsscale.data import Dataset
    from bsscale.planning.plan import Plan
    from bsscale.training.spec import RunSpec

__all__ = [
    "Options",
    "Task",
    "check_model",
    "cost",
    "log_data_notes",
    "plan_text",
    "refuse_replaced",
]

log = logging.getLogger("bsscale")

Options = TypeVar("Options", bound=TaskOptions)


class Task(ABC, Generic[Options]):
    """A task: what a command does.

    The command line calls `check` first. With ``dry_run=true`` it then prints the result of
    `describe` and ends; otherwise it calls `run`.

    Attributes
    ----------
    options
        The type of the task's options, as they are written under ``task.``.
    one_run
        Whether a job of it trains one run. It may then be started by torchrun or srun, where every
        process is a rank of the run; and the jobs of a sweep may be trained together.
    starts_jobs
        Whether it has jobs of its own, which hydra/launcher starts without ``-m``.
    replaces
        Options of a run that it sets itself, and what to write instead.
    trains
        Whether it trains; else it reads records, and replaces what only a training needs.
    """

    options: type[Options]
    one_run: ClassVar[bool] = False
    starts_jobs: ClassVar[bool] = False
    replaces: ClassVar[Mapping[str, str]] = {}
    trains: ClassVar[bool] = True

    @abstractmethod
    def check(self, job: Job) -> Plan | None:
        """Raise BsscaleError if the task cannot start.

        Returns
        -------
        The plan of the one run that the job trains; None for a task that trains none, or several.
        """

    @abstractmethod
    def describe(self, job: Job) -> str:
        """The task's plan and its cost, one fact a line; writes and trains nothing."""

    def most_samples(self, job: Job) -> int:
        """The most samples that it trains on, over all its runs."""
        return 0

    @abstractmethod
    def run(self, job: Job) -> None:
        """Carry it out."""

    def collect(self, job: Job) -> tuple[RunSpec, Dataset] | None:
        """The run of a sweep's job, to be trained with those of other jobs; None: `run` it."""
        return None

    def end_sweep(self, sweep: Path, tracker: TrackerOptions) -> bool:
        """Conclude a sweep after its last job; each job has a directory in that of the sweep.

        Returns
        -------
        Whether all jobs went well.
        """
        return True

    def options_of(self, job: Job) -> Options:
        """The task's options in a job."""
        options = job.options
        assert isinstance(options, self.options)
        return options


def refuse_replaced(
    task: Task[Any], name: str, overrides: Iterable[str], trainer: TrainerOptions | None = None
) -> None:
    """Raise ConfigError for an option that was typed and that does nothing here.

    The file of an experiment may serve several tasks, so its options are not checked.

    Parameters
    ----------
    task, name
        The task, whose own options replace some of a run's.
    overrides
        As they were typed.
    trainer
        Who trains: a script has its own data, for instance. None: not known.
    """
    reason = "reads records, and trains nothing"
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0].partition(".")[0]
        if key in task.replaces and override != "tracker=none":
            why = f"sets {key} itself" if task.trains else reason
            raise ConfigError(
                f"{override} does nothing with task={name}, which {why}", task.replaces[key]
            )
        if trainer is not None and task.trains and key in trainer.replaces:
            raise ConfigError(
                f"{override} does nothing with trainer={trainer.name}", trainer.replaces[key]
            )


def check_model(plan: Plan, dataset: Dataset) -> None:
    """Raise ConfigError for what the trainer of a run cannot train: the user's own parts, say."""
    from bsscale.workers.trainers import trainer_of

    trainer_of(plan.config).check(plan, dataset)


def log_data_notes(jobs: Iterable[Job]) -> None:
    """Show what a reader should look at in the data of some jobs, once a data set."""
    from bsscale.planning.description import describe_data_notes

    shown = set()
    for job in jobs:
        if id(job.dataset) not in shown and (notes := describe_data_notes(job.dataset)):
            log.info("data of %s:\n%s", job.config.dataset["name"], notes)
        shown.add(id(job.dataset))


def plan_text(job: Job) -> str:
    """The plan of a job's one run, one fact a line."""
    from bsscale.planning.description import describe_plan

    return describe_plan(job.plan, job.dataset, job.arm)


def cost(text: str) -> str:
    """The last line of a description."""
    return f"{'cost':>13}  {text}"
