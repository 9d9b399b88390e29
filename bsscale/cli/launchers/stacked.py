"""The launcher behind ``-m``: runs that can share a training step are trained together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, configure_log
from omegaconf import DictConfig

from bsscale.cli.jobs import Job, Loader
from bsscale.cli.launchers.checked import (
    FAILED,
    CheckedJob,
    CheckedLauncher,
    log_to_console,
    run_one,
)
from bsscale.cli.tasks import TASKS
from bsscale.errors import BsscaleError

if TYPE_CHECKING:
    from bsscale.data import Dataset
    from bsscale.planning.stacks import Stack
    from bsscale.training.spec import RunSpec

__all__ = ["StackedLauncher"]

log = logging.getLogger(__name__)


class StackedLauncher(CheckedLauncher):
    """Trains the jobs of a sweep in one process, those that differ little together.

    Every job is first prepared as Hydra's own launcher does it: output directory, saved
    configuration, log. A run to be trained is only collected there; other tasks are carried out.
    """

    def start(self, jobs: Sequence[CheckedJob]) -> Sequence[JobReturn]:
        collected: list[tuple[RunSpec, Dataset]] = []
        collect = partial(_collect, self.function, jobs[0].job.load, collected)
        done = []
        log.info("%d jobs in this process", len(jobs))
        for job in jobs:
            log.info("#%d  %s", job.number, job.described)
            done.append(run_one(self.context, collect, job.cfg, job.number, job.number))
            configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        _train(collected)
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return done

    def describe(self, jobs: Sequence[CheckedJob]) -> Sequence[str]:
        from bsscale.planning.stacks import make_stacks

        plans = [job.plan for job in jobs if job.plan is not None and job.task.one_run]
        return [_described(stack) for stack in make_stacks(plans)]


def _collect(
    carry_out: Callable[[DictConfig], Any],
    load: Loader | None,
    collected: list[tuple[RunSpec, Dataset]],
    cfg: DictConfig,
) -> Any:
    """What Hydra calls as the job."""
    job = Job(cfg, HydraConfig.get(), load)
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


def _train(collected: Sequence[tuple[RunSpec, Dataset]]) -> None:
    """Train the runs, stack by stack. A failed one is logged, and listed by the comparison."""
    from bsscale.planning.stacks import make_stacks
    from bsscale.training.run import run, run_together

    for stack in make_stacks([spec.plan for spec, _ in collected]):
        specs = [collected[number][0] for number in stack.members]
        dataset = collected[stack.members[0]][1]
        log_to_console(specs[0].logging or {})
        if specs[0].plan.executor == "virtual":
            log.info("%s", _described(stack))
            run_together(specs, dataset, stack)
        else:
            try:
                run(specs[0], dataset)
            except Exception as error:
                log.error("error: %s", error, exc_info=not isinstance(error, BsscaleError))


def _described(stack: Stack) -> str:
    return (
        f"{len(stack.members)} runs, {stack.width} at a time: {stack.training_step} "
        f"({stack.training_step_reason})"
    )
