"""hydra/launcher=ray: each run of a sweep is a Ray task, which starts its training processes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from bsscale.cli.jobs import remembering_datasets
from bsscale.cli.launchers.checked import CheckedJob, check_jobs, without_result

if TYPE_CHECKING:
    from bsscale.planning.devices import Devices

__all__ = ["RayLauncher"]

log = logging.getLogger(__name__)


class RayLauncher(Launcher):
    """Hydra's plugin, but that each task reserves what its own run needs.

    Parameters
    ----------
    ray
        ``init``: arguments of ray.init; ``remote``: of ray.remote, for every task.
    """

    def __init__(self, ray: DictConfig) -> None:
        self._init: dict[str, Any] = _plain(ray.init)
        self._remote: dict[str, Any] = _plain(ray.remote)
        self._context: HydraContext | None = None
        self._task_function: TaskFunction | None = None
        self._config: DictConfig | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._context, self._task_function, self._config = hydra_context, task_function, config

    def devices_of_node(self) -> Devices:
        """The devices of the best node: a job is on one."""
        import ray
        from hydra_plugins.hydra_ray_launcher._launcher_util import start_ray

        from bsscale.planning.devices import Devices

        start_ray(OmegaConf.create(self._init))
        gpus = (int(node["Resources"].get("GPU", 0)) for node in ray.nodes())
        return Devices(cuda=max(gpus, default=0))

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        import ray
        from hydra_plugins.hydra_ray_launcher._launcher_util import launch_job_on_ray

        assert self._config is not None and self._context is not None
        assert self._task_function is not None
        setup_globals()
        on_node = self.devices_of_node()
        jobs = check_jobs(
            self._context, self._config, job_overrides, remembering_datasets(), lambda _: on_node
        )
        # Ray's workers have a directory of their own.
        here, sweep = Path.cwd(), Path(str(self._config.hydra.sweep.dir)).absolute()
        sweep.mkdir(parents=True, exist_ok=True)
        tasks = []
        for number, job in enumerate(jobs, start=initial_job_idx):
            asked = {**_resources(job), **self._remote}
            log.info("#%d  %s  (%s)", number, job.described, asked)
            with open_dict(job.cfg):
                job.cfg.hydra.job.id = f"job_id_for_{number}"
                job.cfg.hydra.job.num = number
                job.cfg.hydra.sweep.dir = str(sweep)
            tasks.append(
                launch_job_on_ray(
                    self._context,
                    OmegaConf.create(asked),
                    job.cfg,
                    partial(_in_directory, here, self._task_function),
                    Singleton.get_state(),
                )
            )
        results = []
        for number, (job, task) in enumerate(zip(jobs, tasks, strict=True), start=initial_job_idx):
            try:
                results.append(ray.get(task))
            except ray.exceptions.RayError as error:
                log.error("error: job %d: %s", number, error)
                results.append(without_result(job, number))
        return results


def _in_directory(directory: Path, task_function: TaskFunction, cfg: DictConfig) -> Any:
    """A job where the command was typed: the user's own files and modules lie there."""
    os.chdir(directory)
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    return task_function(cfg)


def _resources(job: CheckedJob) -> dict[str, int]:
    """What the processes of a run need of one node."""
    if job.plan is None:
        return {"num_cpus": 1}
    needed = {"num_cpus": job.plan.processes * job.plan.config.executor.threads}
    if job.plan.device == "cuda":
        needed["num_gpus"] = job.plan.processes
    return needed


def _plain(node: Any) -> dict[str, Any]:
    container = OmegaConf.to_container(node, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}
