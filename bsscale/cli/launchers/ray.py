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
from hydra.core.utils import JobReturn
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from bsscale.cli.launchers.checked import CheckedJob, CheckedLauncher, run_elsewhere
from bsscale.cli.tasks import Task

if TYPE_CHECKING:
    from bsscale.planning.devices import Devices

__all__ = ["RayLauncher"]

log = logging.getLogger(__name__)


class RayLauncher(CheckedLauncher):
    """Each task reserves what its own run needs; Hydra's plugin asks the same for all.

    Parameters
    ----------
    ray
        ``init``: arguments of ray.init; ``remote``: of ray.remote, for every task.
    """

    def __init__(self, ray: DictConfig) -> None:
        super().__init__()
        self._init: dict[str, Any] = _plain(ray.init)
        self._remote: dict[str, Any] = _plain(ray.remote)

    def devices_of_node(self) -> Devices:
        """The devices of the best node: a job is on one."""
        import ray

        from bsscale.planning.devices import Devices

        if not ray.is_initialized():
            ray.init(**self._init)
        gpus = (int(node["Resources"].get("GPU", 0)) for node in ray.nodes())
        return Devices(cuda=max(gpus, default=0))

    def devices(self, task: Task[Any]) -> Devices:
        return self.devices_of_node()

    def start(self, jobs: Sequence[CheckedJob]) -> Sequence[JobReturn]:
        import ray

        # Ray's workers have a directory of their own.
        here, sweep = Path.cwd(), str(self.sweep.absolute())
        carry_out = partial(_run_in_directory, here, self.function)
        singletons = Singleton.get_state()
        tasks = []
        for job in jobs:
            asked = {**_resources(job), **self._remote}
            log.info("#%d  %s  (%s)", job.number, job.described, asked)
            with open_dict(job.cfg):
                job.cfg.hydra.sweep.dir = sweep
            remote = ray.remote(**asked)(run_elsewhere)
            job_id = f"job_id_for_{job.number}"
            tasks.append(
                remote.remote(self.context, carry_out, job.cfg, job.number, job_id, singletons)
            )
        results: list[JobReturn] = []
        for job, task in zip(jobs, tasks, strict=True):
            try:
                results.append(ray.get(task))
            except ray.exceptions.RayError as error:
                log.error("error: job %d: %s", job.number, error)
                results.append(self.lost(job))
        return results


def _run_in_directory(directory: Path, task_function: TaskFunction, cfg: DictConfig) -> Any:
    """A job where the command was typed: the user's own files and modules lie there."""
    os.chdir(directory)
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    return task_function(cfg)


def _resources(job: CheckedJob) -> dict[str, int]:
    """The resources of one node that the processes of a run need."""
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
