"""hydra/launcher=submitit_slurm: each run of a sweep is a job of its own.

Hydra's plugin asks the same of the cluster for every job of a sweep. Here the number of tasks
follows from each job's `gpus`, so that `gpus=1,2,8` is one sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bsscale.cli.launchers.checked import CheckedJob
from bsscale.cli.launchers.slurm_jobs import (
    Queued,
    Submitted,
    check_startable,
    queue,
    read_submitted,
    write_submitted,
)
from bsscale.cli.launchers.submitit_base import Resources, SubmititLauncher, describe, one_task
from bsscale.cli.tasks import Task
from bsscale.errors import ConfigError

if TYPE_CHECKING:
    from bsscale.planning.devices import Devices

__all__ = ["SlurmLauncher", "resources"]

# submitit's own default.
SIGNAL_DELAY_S = 120


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


class SlurmLauncher(SubmititLauncher):
    """hydra/launcher=submitit_slurm: a task for each training process of a job."""

    cluster = "slurm"

    def check(self, job: CheckedJob) -> None:
        limit_s = 60 * (self.options.get("timeout_min") or 0)
        delay_s = self.options.get("signal_delay_s") or SIGNAL_DELAY_S
        if 0 < limit_s <= delay_s:
            raise ConfigError(
                f"hydra.launcher.timeout_min={limit_s // 60} is {limit_s} s, and SLURM asks a job "
                f"for a checkpoint {delay_s} s before its time limit: it would be queued again as "
                "soon as it has started",
                f"give hydra.launcher.timeout_min={delay_s // 60 + 10} or more, or a smaller "
                "hydra.launcher.signal_delay_s",
            )

    def adopt(self, jobs: Sequence[CheckedJob]) -> dict[int, Any]:
        import submitit

        earlier, queued = read_submitted(self.sweep), queue() or {}
        return {
            job.number: submitit.SlurmJob(
                folder=self.options["submitit_folder"],
                job_id=known.job_id,
                tasks=list(range(known.tasks)),
            )
            for job in jobs
            if (known := earlier.get(job.number)) is not None
            and known.overrides == list(job.overrides)
            and known.job_id in queued
        }

    def keep(self, jobs: Sequence[CheckedJob], submitted: Mapping[int, Any]) -> None:
        write_submitted(
            self.sweep,
            {
                job.number: Submitted(each.job_id, each.num_tasks, list(job.overrides))
                for job in jobs
                if (each := submitted.get(job.number)) is not None
            },
        )

    def ask(self, asked: Resources) -> None:
        try:
            # (its own text of the batch script, which it submits later)
            script = self.executor(asked)._executor._make_submission_file_text("true", "")
        except Exception as error:
            raise self.refused(error) from error
        check_startable(script, describe(asked))

    def queue(self) -> Mapping[str, Queued] | None:
        return queue()

    def how_to_go_on(self) -> str:
        return f"; the same command, with hydra.sweep.dir={self.sweep}, waits for them again"

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
            return one_task(job, self.options.get("gpus_per_node"))
        gpus_per_node = self.options.get("gpus_per_node") if job.plan.device == "cuda" else None
        tasks_per_node = self.options.get("tasks_per_node")
        return resources(
            job.plan.processes, job.plan.config.executor.threads, gpus_per_node, tasks_per_node
        )
