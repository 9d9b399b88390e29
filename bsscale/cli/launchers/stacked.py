"""The launcher behind ``-m``: every job is checked first, and runs that can share a step do."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, configure_log
from hydra.types import HydraContext
from omegaconf import DictConfig

from bsscale.cli.jobs import Job, Loader, remembering_datasets
from bsscale.cli.launchers.checked import check_jobs
from bsscale.cli.tasks import TASKS
from bsscale.errors import BsscaleError

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader

    from bsscale.data import Dataset
    from bsscale.training.spec import RunSpec

__all__ = ["StackedLauncher"]

log = logging.getLogger(__name__)


class StackedLauncher(BasicLauncher):
    """Trains the jobs of a sweep in one process, those that differ little together.

    A sweep that would stop at its ninth job because of a wrong value stops before its first. Then
    Hydra's basic launcher prepares every job: output directory, saved configuration, log. A run
    to be trained is only collected by that; all other tasks are done there and then.
    """

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        assert self.config is not None and self.task_function is not None
        load = remembering_datasets()
        collected: list[tuple[RunSpec, Dataset]] = []
        context, do_now = self.hydra_context, self.task_function
        assert context is not None
        jobs_ = check_jobs(context, self.config, job_overrides, load)
        checked = _Checked(context.config_loader, [job.cfg for job in jobs_])
        self.hydra_context = HydraContext(cast("ConfigLoader", checked), context.callbacks)
        self.task_function = lambda cfg: self._collect(cfg, do_now, load, collected)
        try:
            jobs: Sequence[JobReturn] = super().launch(job_overrides, initial_job_idx)
        finally:
            self.hydra_context, self.task_function = context, do_now
        _train(collected)
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return jobs

    def _collect(
        self,
        cfg: DictConfig,
        do_now: Callable[[DictConfig], Any],
        load: Loader,
        collected: list[tuple[RunSpec, Dataset]],
    ) -> Any:
        """What Hydra calls as the job."""
        job = Job(cfg, HydraConfig.get(), load)
        # A job that wants a directory or an environment of its own has them only here.
        if job.dry_run or job.hydra.job.chdir or job.hydra.job.env_set:
            return do_now(cfg)
        try:
            run = TASKS[job.options.name].collect(job)
        except BsscaleError as error:  # the comparison lists a job without a result
            log.error("error: %s", error)
            return None
        if run is None:
            return do_now(cfg)
        collected.append(run)
        return None


class _Checked:
    """A config loader that hands out what is composed already: composing again takes as long."""

    def __init__(self, loader: ConfigLoader, jobs: Sequence[DictConfig]) -> None:
        self._loader, self._jobs = loader, iter(jobs)

    def load_sweep_config(self, *_: Any) -> DictConfig:
        return next(self._jobs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _train(collected: Sequence[tuple[RunSpec, Dataset]]) -> None:
    """Train the runs, stack by stack. A failed one is logged, and listed by the comparison."""
    from bsscale.planning.stacks import make_stacks
    from bsscale.training.run import run, run_together

    for stack in make_stacks([spec.plan for spec, _ in collected]):
        specs = [collected[number][0] for number in stack.members]
        dataset = collected[stack.members[0]][1]
        _log_to_console(specs[0])
        if specs[0].plan.executor == "virtual":
            log.info(
                "%d runs, %d at a time: %s (%s)",
                len(specs),
                stack.width,
                stack.training_step,
                stack.training_step_reason,
            )
            run_together(specs, dataset, stack)
        else:
            try:
                run(specs[0], dataset)
            except Exception as error:
                log.error("error: %s", error, exc_info=not isinstance(error, BsscaleError))


def _log_to_console(spec: RunSpec) -> None:
    """The jobs' own logging, less the file, which belongs to one of them."""
    settings = dict(spec.logging or {})
    handlers = settings.get("handlers", {})
    if "console" not in handlers:
        return
    settings["handlers"] = {"console": handlers["console"]}
    settings["root"] = {**settings.get("root", {}), "handlers": ["console"]}
    logging.config.dictConfig(settings)
