"""The base class of all tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from bsscale.cli.jobs import Job
from bsscale.config import TaskOptions, TrackerOptions
from bsscale.errors import ConfigError

if TYPE_CHECKING:
    from bsscale.data import Dataset
    from bsscale.planning.plan import Plan
    from bsscale.training.spec import RunSpec

__all__ = ["Options", "Task", "check_model", "cost", "plan_text", "refuse_replaced"]

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
    """

    options: type[Options]
    one_run: ClassVar[bool] = False
    starts_jobs: ClassVar[bool] = False
    replaces: ClassVar[Mapping[str, str]] = {}

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


def refuse_replaced(task: Task[Any], name: str, overrides: Iterable[str]) -> None:
    """Raise ConfigError for an option that was typed and that the task sets itself.

    The file of an experiment may serve several tasks, so its options are not checked.
    """
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0].partition(".")[0]
        if key in task.replaces and override != "tracker=none":
            raise ConfigError(
                f"{override} does nothing with task={name}, which sets {key} itself",
                task.replaces[key],
            )


def check_model(plan: Plan, dataset: Dataset) -> None:
    """Raise ConfigError for parts of the user's own that a run cannot train: model, loss, rule."""
    from bsscale.planning.training_step import ships

    if hasattr(plan.objective, "losses"):
        from bsscale.engines.probe_objective import check_losses  # (torch takes a second)

        check_losses(plan.objective, dataset.validation)
    if not ships(plan.config.model) or not plan.config.optimizer.ships:
        from bsscale.engines import probe

        probe.check_model(plan, dataset)


def plan_text(job: Job) -> str:
    """The plan of a job's one run, one fact a line."""
    from bsscale.planning.description import describe_plan

    return describe_plan(job.plan, job.dataset, job.arm)


def cost(text: str) -> str:
    """The last line of a description."""
    return f"{'cost':>13}  {text}"
