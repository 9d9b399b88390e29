"""Every job of a sweep is checked before the first is started, whatever starts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.errors import CompactHydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from bsscale.cli.jobs import Job, Loader
from bsscale.cli.tasks import TASKS, Task
from bsscale.errors import BsscaleError

if TYPE_CHECKING:
    from bsscale.planning.devices import Devices
    from bsscale.planning.plan import Plan

__all__ = ["CheckedJob", "check_jobs", "without_result"]


@dataclass(frozen=True)
class CheckedJob:
    """A job of a sweep.

    Attributes
    ----------
    cfg
        Its composed configuration, Hydra's own part included.
    task
        What it does.
    plan
        Its numbers where it will run; None for a task that has none, or several.
    described
        Its overrides, less Hydra's own and those that all jobs share.
    """

    cfg: DictConfig
    task: Task
    plan: Plan | None
    described: str


def check_jobs(
    context: HydraContext,
    config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    load: Loader,
    devices: Callable[[Task], Devices] | None = None,
    check: Callable[[CheckedJob], None] | None = None,
) -> list[CheckedJob]:
    """Compose and check the jobs of a sweep.

    Parameters
    ----------
    context, config
        Of the launcher.
    job_overrides
        A list of overrides for each job.
    load
        What loads a data set.
    devices
        What a job of such a task finds where it runs; None: what this machine has.
    check
        What else is to be asked of a job; raises BsscaleError.

    Raises
    ------
    CompactHydraException
        What the first impossible job would raise before it trains.
    """
    jobs = []
    shared = set(config.hydra.overrides.task)
    for overrides in job_overrides:
        cfg = context.config_loader.load_sweep_config(config, list(overrides))
        mine = filter_overrides(overrides)
        described = " ".join(each for each in mine if each not in shared)
        try:
            task = TASKS[cfg.task.name]
            found = None if devices is None else devices(task)
            plan = task.check(Job(cfg, cfg.hydra, load, found))
            job = CheckedJob(cfg, task, plan, described)
            if check is not None:
                check(job)
        except BsscaleError as error:
            raise CompactHydraException(
                f"Nothing was trained: in the job {' '.join(mine)}: {error}"
            ) from None
        jobs.append(job)
    return jobs


def without_result(job: CheckedJob, number: int) -> JobReturn:
    """What comes back of a job that was lost: the comparison lists it as one that failed."""
    with open_dict(job.cfg):
        job.cfg.hydra.job.num = number
    directory = Path(str(job.cfg.hydra.sweep.dir), str(job.cfg.hydra.sweep.subdir))
    (directory / ".hydra").mkdir(parents=True, exist_ok=True)
    lost = JobReturn(status=JobStatus.COMPLETED)
    lost.return_value = None
    return lost
