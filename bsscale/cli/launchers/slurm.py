"""hydra/launcher=submitit_slurm and submitit_local: each run of a sweep is a job of its own.

Hydra's plugin asks the same of the cluster for every job of a sweep. Here the number of tasks
follows from each job's `gpus`, so that `gpus=1,2,8` is one sweep.
"""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from hydra.errors import CompactHydraException
from omegaconf import OmegaConf

from bsscale.cli.launchers.checked import CheckedJob, CheckedLauncher, run_one
from bsscale.cli.tasks import Task
from bsscale.errors import ConfigError
from bsscale.terminal.words import counted

if TYPE_CHECKING:
    from bsscale.planning.devices import Devices

__all__ = ["LocalLauncher", "SlurmLauncher", "resources"]

log = logging.getLogger(__name__)

# How often the submitting process looks for results.
POLL_S = 1.0
# How long a job may continue after one of its tasks has failed; normally the other tasks notice the
# failure.
SETTLE_S = 60.0
# The parameters that submitit takes for every cluster; others begin with the cluster's name.
SHARED = (
    "cpus_per_task",
    "gpus_per_node",
    "mem_gb",
    "name",
    "nodes",
    "stderr_to_stdout",
    "tasks_per_node",
    "timeout_min",
)


@dataclass(frozen=True)
class Resources:
    """The resources that a job requests from the cluster.

    Attributes
    ----------
    nodes, tasks_per_node
        Where its processes are.
    gpus_per_node
        CUDA devices that it needs on each node; None: none.
    cpus_per_task
        CPU threads of each process.
    """

    nodes: int
    tasks_per_node: int
    gpus_per_node: int | None
    cpus_per_task: int


def resources(
    processes: int, threads: int, gpus_per_node: int | None, tasks_per_node: int | None
) -> Resources:
    """Spread a job over as few nodes as hold it, evenly.

    Parameters
    ----------
    processes, threads
        Processes of the job, and CPU threads of each.
    gpus_per_node
        CUDA devices that a node has; None: the job needs none.
    tasks_per_node
        The most processes on one node; None: one for each CUDA device, or all of them.
    """
    for key, most in (("gpus_per_node", gpus_per_node), ("tasks_per_node", tasks_per_node)):
        if most is not None and most < 1:
            raise ConfigError(f"hydra.launcher.{key}={most}", "give 1 or more, or null")
    most = min(n for n in (processes, gpus_per_node, tasks_per_node) if n is not None)
    on_each = next(n for n in range(most, 0, -1) if processes % n == 0)
    return Resources(
        nodes=processes // on_each,
        tasks_per_node=on_each,
        gpus_per_node=None if gpus_per_node is None else on_each,
        cpus_per_task=threads,
    )


class _SubmititLauncher(CheckedLauncher):
    """Submits all jobs, and waits for all of them.

    Parameters
    ----------
    options
        Those of Hydra's plugin, under hydra.launcher; what a job's plan gives is not among them.
    """

    # How submitit calls the cluster.
    cluster: ClassVar[str]

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            key: OmegaConf.to_container(value, resolve=True)
            if OmegaConf.is_config(value)
            else value
            for key, value in options.items()
        }

    def start(self, jobs: Sequence[CheckedJob]) -> Sequence[JobReturn]:
        groups: dict[Resources, list[CheckedJob]] = {}
        for job in jobs:
            groups.setdefault(self.resources(job), []).append(job)
        submitted: dict[int, Any] = {}
        try:
            for asked, alike in groups.items():
                submitted |= self._submit(asked, alike)
        except BaseException:
            for each in submitted.values():
                each.cancel(check=False)
            raise
        try:
            return [self._result(submitted[job.number], job) for job in jobs]
        except KeyboardInterrupt:
            running = " ".join(each.job_id for each in submitted.values() if not each.done())
            log.warning("no longer waiting for the jobs %s, which run on", running)
            raise

    @abstractmethod
    def resources(self, job: CheckedJob) -> Resources:
        """The resources that a job requests from the cluster."""

    def _submit(self, asked: Resources, jobs: Sequence[CheckedJob]) -> dict[int, Any]:
        """Submit the jobs that ask for the same, as one array; by their numbers."""
        for job in jobs:
            words = [f"#{job.number}", job.described, f"({_describe(asked)})"]
            log.info("%s", "  ".join(filter(None, words)))
        singletons = Singleton.get_state()
        arguments = [(list(job.overrides), job.number, singletons) for job in jobs]
        try:
            executor = self._executor(asked)
            submitted = executor.map_array(self, *zip(*arguments, strict=True))
        except Exception as error:  # an error of submitit or sbatch about the options
            raise CompactHydraException(
                f"Nothing was trained: {self.cluster} refuses the jobs: {error}\n"
                "  -> the options of hydra.launcher are listed by --cfg hydra -p hydra.launcher"
            ) from error
        return dict(zip([job.number for job in jobs], submitted, strict=True))

    def _executor(self, asked: Resources) -> Any:
        import submitit

        given = {key: value for key, value in self.options.items() if value is not None}
        own = {key: given.pop(key) for key in ("max_num_timeout",) if key in given}
        executor = submitit.AutoExecutor(
            folder=given.pop("submitit_folder"),
            cluster=self.cluster,
            **{f"{self.cluster}_{key}": value for key, value in own.items()},
        )
        parameters: dict[str, Any] = {"cpus_per_task": asked.cpus_per_task, **given}
        parameters |= {"nodes": asked.nodes, "tasks_per_node": asked.tasks_per_node}
        parameters["gpus_per_node"] = asked.gpus_per_node
        executor.update_parameters(
            **{
                key if key in SHARED else f"{self.cluster}_{key}": value
                for key, value in parameters.items()
            }
        )
        return executor

    def __call__(self, overrides: list[str], number: int, singletons: dict[Any, Any]) -> JobReturn:
        """Run one task of a job. Task 0 has the directory; the others only train."""
        import submitit

        environment = submitit.JobEnvironment()
        # Remove the error of an interrupted start, which may be about peers that had gone.
        environment.paths.result_pickle.unlink(missing_ok=True)
        if environment.global_rank > 0:
            overrides = [
                *overrides, "hydra.output_subdir=null", "hydra/job_logging=ranks_above_0"
            ]  # fmt: skip
        Singleton.set_state(singletons)
        setup_globals()
        cfg = self.context.config_loader.load_sweep_config(self.config, overrides)
        done = run_one(self.context, self.function, cfg, number, environment.job_id)
        _ = done.return_value  # raises what ended the job
        return done

    def checkpoint(self, *arguments: Any) -> Any:
        """The job that submitit queues again at the time limit; it continues the run."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, *arguments)

    def _result(self, submitted: Any, job: CheckedJob) -> JobReturn:
        """Wait for a job; log the errors of its tasks. What it has trained is in its directory."""
        _wait(submitted)
        first, errors = submitted.task(0), _errors(submitted)
        if (lost := first.exception()) is not None:
            errors.setdefault(0, str(lost))
        for rank, error in errors.items():
            of = f", rank {rank} of {submitted.num_tasks}" if submitted.num_tasks > 1 else ""
            log.error("error: job %d (%s%s): %s", job.number, submitted.job_id, of, error)
        if lost is not None:
            return self.lost(job)
        result = first.result()
        assert isinstance(result, JobReturn)
        return result


class SlurmLauncher(_SubmititLauncher):
    """hydra/launcher=submitit_slurm: a task for each training process of a job."""

    cluster = "slurm"

    def devices_of_node(self) -> Devices:
        """The devices of a job on one node."""
        from bsscale.planning.devices import Devices

        return Devices(cuda=self.options.get("gpus_per_node") or 0)

    def devices(self, task: Task[Any]) -> Devices:
        from bsscale.planning.devices import Devices

        on_node = self.devices_of_node()
        # A run has as many nodes as it takes; the other tasks start their processes themselves.
        return Devices(cuda=1 << 20) if task.one_run and on_node.cuda else on_node

    def resources(self, job: CheckedJob) -> Resources:
        if job.plan is None or not job.task.one_run:
            return _one_task(job, self.options.get("gpus_per_node"))
        gpus_per_node = self.options.get("gpus_per_node") if job.plan.device == "cuda" else None
        tasks_per_node = self.options.get("tasks_per_node")
        return resources(
            job.plan.processes, job.plan.config.executor.threads, gpus_per_node, tasks_per_node
        )


class LocalLauncher(_SubmititLauncher):
    """hydra/launcher=submitit_local: one task a job, which starts its training processes itself."""

    cluster = "local"

    def devices_of_node(self) -> Devices:
        """The devices of a job on this host."""
        from bsscale.planning.devices import Devices

        here, given = Devices.here(), self.options.get("gpus_per_node")
        return here if given is None else Devices(cuda=min(given, here.cuda))

    def devices(self, task: Task[Any]) -> Devices:
        return self.devices_of_node()

    def resources(self, job: CheckedJob) -> Resources:
        return _one_task(job, self.devices_of_node().cuda or None)


def _one_task(job: CheckedJob, gpus_per_node: int | None) -> Resources:
    """The resources of a job that starts its processes itself, on one node."""
    if job.plan is None:
        return Resources(1, 1, gpus_per_node, 1)
    gpus = job.plan.processes if job.plan.device == "cuda" else None
    return Resources(1, 1, gpus, job.plan.processes * job.plan.config.executor.threads)


def _describe(asked: Resources) -> str:
    tasks = asked.nodes * asked.tasks_per_node
    text = f"{counted(tasks, 'task')} on {counted(asked.nodes, 'node')}"
    if asked.gpus_per_node is None:
        return text
    return f"{text}, {counted(asked.gpus_per_node, 'GPU')} on each"


def _wait(submitted: Any) -> None:
    """Wait until a job's first task has ended, or another one has failed and it does not notice."""
    failing_since: float | None = None
    while not submitted.task(0).done():
        if not _errors(submitted):
            failing_since = None
        elif failing_since is None:
            failing_since = time.monotonic()
        elif time.monotonic() - failing_since > SETTLE_S:
            submitted.cancel(check=False)
            return
        time.sleep(POLL_S)


def _errors(submitted: Any) -> dict[int, str]:
    """The errors that tasks have ended with so far, by rank."""
    tasks = (submitted.task(rank) for rank in range(submitted.num_tasks))
    written = {t.task_id or 0: t for t in tasks if t.paths.result_pickle.exists()}
    errors = {rank: task.exception() for rank, task in written.items()}
    return {rank: str(error) for rank, error in errors.items() if error is not None}
