"""What both launchers of submitit share: jobs are submitted, waited for, and their results read."""

from __future__ import annotations

import logging
import signal
import sys
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from hydra.errors import CompactHydraException
from omegaconf import OmegaConf

from bsscale.cli.launchers.checked import CheckedJob, CheckedLauncher, run_one
from bsscale.cli.launchers.slurm_jobs import Queued
from bsscale.cli.launchers.waiting import errors, wait_for_all
from bsscale.terminal.words import counted

__all__ = ["Resources", "SubmititLauncher", "describe", "one_task"]

log = logging.getLogger(__name__)

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


class SubmititLauncher(CheckedLauncher):
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
        adopted = self.adopt(jobs)
        groups: dict[Resources, list[CheckedJob]] = {}
        for job in jobs:
            if job.number in adopted:
                job_id = adopted[job.number].job_id
                log.info("#%d  %s  (already job %s)", job.number, job.described, job_id)
            else:
                groups.setdefault(self.resources(job), []).append(job)
        for asked in groups:
            self.ask(asked)
        new: dict[int, Any] = {}
        try:
            for asked, alike in groups.items():
                new |= self._submit(asked, alike)
                self.keep(jobs, {**adopted, **new})
        except BaseException:
            for each in new.values():
                each.cancel(check=False)
            raise
        submitted = {**adopted, **new}
        try:
            lost = wait_for_all(jobs, submitted, adopted, self.queue, str(self.sweep / ".submitit"))
            return [self._result(submitted[job.number], job, lost) for job in jobs]
        except KeyboardInterrupt:
            running = " ".join(each.job_id for each in submitted.values() if not each.done())
            log.warning(
                "no longer waiting for the jobs %s, which run on%s", running, self.how_to_go_on()
            )
            raise

    def adopt(self, jobs: Sequence[CheckedJob]) -> dict[int, Any]:
        """Those of the jobs that an earlier start has submitted and that have not ended."""
        return {}

    def keep(self, jobs: Sequence[CheckedJob], submitted: Mapping[int, Any]) -> None:
        """Note which jobs were submitted, for a later start."""

    def ask(self, asked: Resources) -> None:
        """Raise an error if the cluster can never start such a job."""

    def queue(self) -> Mapping[str, Queued] | None:
        """The cluster's queue; None where there is none."""
        return None

    def how_to_go_on(self) -> str:
        """What to do to wait for the jobs again."""
        return ""

    @abstractmethod
    def resources(self, job: CheckedJob) -> Resources:
        """The resources that a job requests from the cluster."""

    def _submit(self, asked: Resources, jobs: Sequence[CheckedJob]) -> dict[int, Any]:
        """Submit the jobs that ask for the same, as one array; by their numbers."""
        for job in jobs:
            words = [f"#{job.number}", job.described, f"({describe(asked)})"]
            log.info("%s", "  ".join(filter(None, words)))
        singletons = Singleton.get_state()
        arguments = [(list(job.overrides), job.number, singletons) for job in jobs]
        try:
            executor = self.executor(asked)
            submitted = executor.map_array(self, *zip(*arguments, strict=True))
        except Exception as error:  # an error of submitit or sbatch about the options
            raise self.refused(error) from error
        return dict(zip([job.number for job in jobs], submitted, strict=True))

    def refused(self, error: Exception) -> CompactHydraException:
        """The error for options that the cluster or submitit refuses."""
        return CompactHydraException(
            f"Nothing was trained: {self.cluster} refuses the jobs: {error}\n"
            "  -> the options of hydra.launcher are listed by --cfg hydra -p hydra.launcher"
        )

    def executor(self, asked: Resources) -> Any:
        """What submits jobs that ask for these resources."""
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
        # submitit ignores it. A job that is cancelled or preempted writes a checkpoint and ends.
        signal.signal(signal.SIGTERM, _terminated)
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

    def _result(self, submitted: Any, job: CheckedJob, lost: Collection[int]) -> JobReturn:
        """Of a job that has ended; log the errors of its tasks. Its directory has its training."""
        first, found = submitted.task(0), errors(submitted)
        failed: object = None
        if job.number in lost:
            failed = f"it has left the queue without a result; its log is {first.paths.stdout}"
        else:
            failed = first.exception()
        if failed is not None:
            found.setdefault(0, str(failed))
        for rank, error in found.items():
            of = f", rank {rank} of {submitted.num_tasks}" if submitted.num_tasks > 1 else ""
            log.error("error: job %d (%s%s): %s", job.number, submitted.job_id, of, error)
        if failed is not None:
            return self.lost(job)
        result = first.result()
        assert isinstance(result, JobReturn)
        return result


def one_task(job: CheckedJob, gpus_per_node: int | None) -> Resources:
    """The resources of a job that starts its processes itself, on one node."""
    if job.plan is None:
        return Resources(1, 1, gpus_per_node, 1)
    gpus = job.plan.processes if job.plan.device == "cuda" else None
    return Resources(1, 1, gpus, job.plan.processes * job.plan.config.executor.threads)


def describe(asked: Resources) -> str:
    """What a job asks for, in words."""
    tasks = asked.nodes * asked.tasks_per_node
    text = f"{counted(tasks, 'task')} on {counted(asked.nodes, 'node')}"
    if asked.gpus_per_node is None:
        return text
    return f"{text}, {counted(asked.gpus_per_node, 'GPU')} on each"


def _terminated(number: int, _: object) -> None:
    sys.exit(128 + number)
