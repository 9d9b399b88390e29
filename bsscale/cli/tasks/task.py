"""What every task has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bsscale.cli.jobs import Job
from bsscale.config import TaskConfig, TrackerConfig

if TYPE_CHECKING:
    from bsscale.data import Dataset
    from bsscale.planning.plan import Plan
    from bsscale.training.spec import RunSpec

__all__ = ["Task"]


class Task:
    """What a command does with the job that it describes.

    Attributes
    ----------
    options
        The task's options, as they are written under ``task.``.
    in_many_processes
        Whether it may be started by torchrun or srun: every process is a rank of the one run.
    starts_jobs
        Whether it has jobs of its own, which hydra/launcher starts without ``-m``.
    """

    options: ClassVar[type[TaskConfig]] = TaskConfig
    in_many_processes: ClassVar[bool] = False
    starts_jobs: ClassVar[bool] = False

    def check(self, job: Job) -> Plan | None:
        """Raise BsscaleError for whatever the task would refuse before it starts.

        Returns
        -------
        The plan of the one run that the job trains; None for a task with none, or several.
        """
        raise NotImplementedError

    def describe(self, job: Job) -> str:
        """The task's plan and its cost, for a person: what ``dry_run=true`` prints."""
        raise NotImplementedError

    def run(self, job: Job) -> None:
        """Do it."""
        raise NotImplementedError

    def collect(self, job: Job) -> tuple[RunSpec, Dataset] | None:
        """The run of a sweep's job, which is trained with those of other jobs; None: `run` it."""
        return None

    def end_sweep(self, sweep: Path, tracker: TrackerConfig) -> bool:
        """After the last job of a sweep, in whose directory each has its own.

        Returns
        -------
        Whether all jobs went well.
        """
        return True
