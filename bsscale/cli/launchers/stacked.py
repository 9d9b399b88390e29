"""The launcher behind ``-m``: runs that can share a training step are trained together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, configure_log
from omegaconf import DictConfig

from bsscale.cli.jobs import Job
from bsscale.cli.launchers.checked import (
    FAILED,
    CheckedJob,
    CheckedLauncher,
    log_to_console,
    run_one,
)
from bsscale.cli.tasks import TASKS, Task
from bsscale.errors import BsscaleError, ConfigError

if TYPE_CHECKING:
    from bsscale.data import Dataset
    from bsscale.planning.devices import Devices
    from bsscale.planning.plan import Plan
    from bsscale.planning.stacks import Stack
    from bsscale.training.spec import RunSpec

__all__ = ["StackedLauncher"]

log = logging.getLogger(__name__)


class StackedLauncher(CheckedLauncher):
    """Trains the jobs of a sweep on this machine, those that differ little together.

    Every job is first prepared as Hydra's own launcher does it: output directory, saved
    configuration, log. A run to be trained is only collected there; other tasks are carried out.
    """

    def __init__(self) -> None:
        super().__init__()
        # The jobs' common number of workers.
        self._wanted: int | str | None = None

    def start(self, jobs: Sequence[CheckedJob]) -> Sequence[JobReturn]:
        collected: list[tuple[RunSpec, Dataset]] = []
        collect = partial(_collect, self.function, jobs[0].job, collected)
        done = []
        log.info("%d jobs on this machine", len(jobs))
        for job in jobs:
            log.info("#%d  %s", job.number, job.described)
            done.append(run_one(self.context, collect, job.cfg, job.number, job.number))
            configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        if collected:
            _train(collected, jobs[0].job)
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return done

    def devices(self, task: Task[Any]) -> Devices | None:
        from bsscale.planning.devices import Devices

        return Devices.here(shared=True) if task.one_run else None

    def check(self, job: CheckedJob) -> None:
        if not job.task.one_run:
            return
        from bsscale.planning.workers import choose_workers

        wanted = job.job.config.workers
        if job.plan is not None:
            choose_workers(wanted, [job.plan], job.job.devices)
        if self._wanted is None:
            self._wanted = wanted
        elif wanted != self._wanted:
            raise ConfigError(
                f"workers={wanted}, and another job has workers={self._wanted}",
                "give one number: all jobs of a sweep share the workers",
            )

    def describe(self, jobs: Sequence[CheckedJob]) -> Sequence[str]:
        from bsscale.planning.stacks import make_stacks
        from bsscale.workers.trainers import TRAINERS

        lines = []
        for name, trainer in TRAINERS.items():
            mine = [job for job in jobs if job.task.one_run and job.job.trainer.name == name]
            plans = [job.plan for job in mine if job.plan is not None]
            if plans:
                job = mine[0].job
                lines += [
                    _described(each) for each in make_stacks(plans) if not _alone(each, plans)
                ]
                workers = trainer.describe(job.config.workers, plans, job.devices)
                lines.append(f"workers  {workers}")
        return lines


def _collect(
    carry_out: Callable[[DictConfig], Any],
    first: Job,
    collected: list[tuple[RunSpec, Dataset]],
    cfg: DictConfig,
) -> Any:
    """What Hydra calls as the job."""
    job = Job(cfg, HydraConfig.get(), first.load, first.devices)
    # A job that wants an environment of its own has it only here.
    if job.dry_run or job.hydra.job.env_set:
        return carry_out(cfg)
    try:
        run = TASKS[job.options.name].collect(job)
    except BsscaleError as error:  # the comparison lists a job without a result
        log.error("error: %s", error)
        return FAILED
    if run is None:
        return carry_out(cfg)
    collected.append(run)
    return None


def _train(collected: Sequence[tuple[RunSpec, Dataset]], first: Job) -> None:
    """Train the runs. A failed one is logged, and listed by the comparison."""
    from bsscale.planning.stacks import make_stacks
    from bsscale.workers.trainers import TRAINERS

    log_to_console(collected[0][0].logging or {})
    for name, trainer in TRAINERS.items():
        mine = [each for each in collected if each[0].plan.config.trainer.name == name]
        if not mine:
            continue
        specs = [spec for spec, _ in mine]
        plans = [spec.plan for spec in specs]
        for stack in make_stacks(plans):
            if not _alone(stack, plans):
                log.info("%s", _described(stack))
        with trainer.workers(first.config.workers, first.devices) as workers:
            workers.train(specs, [dataset for _, dataset in mine])


def _alone(stack: Stack, plans: Sequence[Plan]) -> bool:
    """Whether a stack is a run that has processes of its own."""
    return plans[stack.members[0]].executor != "virtual"


def _described(stack: Stack) -> str:
    return (
        f"{len(stack.members)} runs, {stack.width} at a time: {stack.training_step} "
        f"({stack.training_step_reason})"
    )
