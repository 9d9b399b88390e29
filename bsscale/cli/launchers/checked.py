"""The base of all launchers: every job of a sweep is checked before the first is started."""

from __future__ import annotations

import logging
import logging.config
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.singleton import Singleton
from hydra.core.utils import (
    JobReturn,
    JobStatus,
    configure_log,
    filter_overrides,
    run_job,
    setup_globals,
)
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from bsscale.cli.composed import check_composed
from bsscale.cli.explain import explained
from bsscale.cli.hydra_internals import loader_of_many
from bsscale.cli.jobs import Job, cached_dataset_loader, preserve_hydra_directory
from bsscale.cli.saved import SavedSweep
from bsscale.cli.tasks import TASKS, Task
from bsscale.cli.tasks.task import log_data_notes, refuse_replaced

if TYPE_CHECKING:
    from bsscale.planning.devices import Devices
    from bsscale.planning.plan import Plan

__all__ = ["FAILED", "CheckedJob", "CheckedLauncher", "log_to_console", "run_elsewhere", "run_one"]

log = logging.getLogger("bsscale")

# The result of a job that was refused or failed, from any process.
FAILED = "failed"


@dataclass(frozen=True)
class CheckedJob:
    """A job of a sweep.

    Attributes
    ----------
    number, overrides
        Its number in the sweep, and its overrides as the sweep gave them.
    cfg
        Its composed configuration, Hydra's own part included.
    task
        What it does.
    job
        What the task was given to check.
    plan
        Its numbers where it will run; None for a task that has none, or several.
    described
        Its overrides, less Hydra's own and those that all jobs share.
    """

    number: int
    overrides: Sequence[str]
    cfg: DictConfig
    task: Task[Any]
    job: Job
    plan: Plan | None
    described: str


class CheckedLauncher(Launcher):
    """Checks all jobs of a sweep, and shows them or starts them.

    If the ninth job of a sweep has a wrong value, no job is started. With ``dry_run=true`` the
    plan of each job is printed in this process, whatever the launcher, and no job is started.
    """

    # Whether a job of this process's sweep has failed, for its end.
    any_failed: ClassVar[bool] = False

    def __init__(self) -> None:
        self._context: HydraContext | None = None
        self._function: TaskFunction | None = None
        self._config: DictConfig | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._context, self._function, self._config = hydra_context, task_function, config
        CheckedLauncher.any_failed = False

    @property
    def context(self) -> HydraContext:
        """What Hydra composes and calls back with."""
        assert self._context is not None
        return self._context

    @property
    def function(self) -> TaskFunction:
        """The function that runs a composed configuration."""
        assert self._function is not None
        return self._function

    @property
    def config(self) -> DictConfig:
        """The configuration of the sweep."""
        assert self._config is not None
        return self._config

    @property
    def sweep(self) -> Path:
        """The directory of the sweep."""
        return Path(str(self.config.hydra.sweep.dir))

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        setup_globals()
        jobs = self._checked(job_overrides, initial_job_idx)
        if all(each.job.dry_run for each in jobs):
            self._show(jobs)
            SavedSweep.restore()
            return [_nothing_returned() for _ in jobs]
        self.sweep.mkdir(parents=True, exist_ok=True)
        SavedSweep.forget()
        log_data_notes(each.job for each in jobs if each.task.trains)
        ended = self.start(jobs)
        if any(each.status != JobStatus.COMPLETED or each.return_value == FAILED for each in ended):
            CheckedLauncher.any_failed = True
        return ended

    @abstractmethod
    def start(self, jobs: Sequence[CheckedJob]) -> Sequence[JobReturn]:
        """Start the jobs and wait for them."""

    def devices(self, task: Task[Any]) -> Devices | None:
        """The devices of a job of such a task; None: those of this machine."""
        return None

    def check(self, job: CheckedJob) -> None:
        """Raise BsscaleError for a job that this launcher cannot start."""

    def describe(self, jobs: Sequence[CheckedJob]) -> Sequence[str]:
        """A text on how it would start the jobs."""
        return []

    def lost(self, job: CheckedJob) -> JobReturn:
        """The result of a lost job, which the comparison lists as failed."""
        (job.job.directory / ".hydra").mkdir(parents=True, exist_ok=True)
        return _nothing_returned()

    def _checked(self, job_overrides: Sequence[Sequence[str]], first: int) -> Sequence[CheckedJob]:
        """Compose and check all jobs; raises what the first impossible one would raise."""
        load, composer = cached_dataset_loader(), loader_of_many(self.context.config_loader)
        jobs = []
        all_mine = [filter_overrides(overrides) for overrides in job_overrides]
        shared = set.intersection(*map(set, all_mine)) if all_mine else set()
        for number, overrides in enumerate(job_overrides, start=first):
            mine = all_mine[number - first]
            described = " ".join(each for each in mine if each not in shared)
            try:
                cfg = composer.load_sweep_config(self.config, list(overrides))
                check_composed(cfg, cfg.hydra)
                _number(cfg, number, number)
                task = TASKS[cfg.task.name]
                job = Job(cfg, cfg.hydra, load, self.devices(task))
                refuse_replaced(task, cfg.task.name, overrides, job.trainer)
                plan = task.check(job)
                checked = CheckedJob(number, list(overrides), cfg, task, job, plan, described)
                self.check(checked)
            except Exception as error:
                SavedSweep.restore()
                if (known := explained(error)) is None:
                    raise
                # (A run's own words; a sweep's directory has another name.)
                known.remedy = known.remedy.replace("hydra.run.dir=", "hydra.sweep.dir=")
                raise CompactHydraException(
                    f"Nothing was trained: in the job {' '.join(mine)}: {known}"
                ) from None
            jobs.append(checked)
        return jobs

    def _show(self, jobs: Sequence[CheckedJob]) -> None:
        """Print the plan of each job, and what all would cost."""
        log_to_console(OmegaConf.to_container(self.config.hydra.job_logging))
        for each in jobs:
            log.info("#%d  %s", each.number, each.described)
            log.info("%s\n", each.task.describe(each.job))
        for line in self.describe(jobs):
            log.info("%s", line)
        samples = sum(each.task.most_samples(each.job) for each in jobs)
        log.info("%d jobs, at most %s samples in all", len(jobs), f"{samples:,}")
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)


def run_one(
    context: HydraContext, function: TaskFunction, cfg: DictConfig, number: int, job_id: Any
) -> JobReturn:
    """Carry out one composed job of a sweep in this process, as Hydra's own launcher does."""
    _number(cfg, number, job_id)
    return run_job(
        hydra_context=context,
        task_function=function,
        config=cfg,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def run_elsewhere(
    context: HydraContext,
    function: TaskFunction,
    cfg: DictConfig,
    number: int,
    job_id: Any,
    singletons: Mapping[Any, Any],
) -> JobReturn:
    """`run_one` in a process that another one has started.

    Parameters
    ----------
    singletons
        ``Singleton.get_state()`` of the other process: Hydra's stores, the options among them.
    """
    setup_globals()
    Singleton.set_state(dict(singletons))
    return run_one(context, function, cfg, number, job_id)


def _number(cfg: DictConfig, number: int, job_id: Any) -> None:
    """Give a composed job its number, and with it its directory."""
    with read_write(cfg.hydra.runtime), open_dict(cfg):
        cfg.hydra.job.id, cfg.hydra.job.num = job_id, number
        directory = Path(str(cfg.hydra.sweep.dir), str(cfg.hydra.sweep.subdir))
        cfg.hydra.runtime.output_dir = str(directory.absolute())
    preserve_hydra_directory(cfg, directory)


def log_to_console(settings: Any) -> None:
    """The jobs' own logging less its file, which belongs to one job."""
    handlers = settings.get("handlers", {})
    if "console" not in handlers:
        return
    logging.config.dictConfig(
        {
            **settings,
            "handlers": {"console": handlers["console"]},
            "root": {**settings.get("root", {}), "handlers": ["console"]},
        }
    )


def _nothing_returned() -> JobReturn:
    done = JobReturn(status=JobStatus.COMPLETED)
    done.return_value = None
    return done
