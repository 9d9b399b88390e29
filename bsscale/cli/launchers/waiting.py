"""Waits for submitted jobs, and shows how they are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from bsscale.cli.launchers.checked import CheckedJob
from bsscale.cli.launchers.slurm_jobs import Queued
from bsscale.terminal.jobs import JobLine, JobTable

__all__ = ["errors", "wait_for_all"]

# How often the submitting process looks for results, and how often it asks the cluster.
POLL_S, QUEUE_S = 1.0, 5.0
# How long a job may continue after one of its tasks has failed; normally the other tasks notice the
# failure.
SETTLE_S = 60.0
# A job that has left the queue has left its result too, which a shared file system may show later.
LOST_S = 30.0


def wait_for_all(
    jobs: Sequence[CheckedJob],
    submitted: Mapping[int, Any],
    adopted: Collection[int],
    queue: Callable[[], Mapping[str, Queued] | None],
    logs: str,
) -> set[int]:
    """Wait until every job has ended.

    Parameters
    ----------
    jobs, submitted
        The jobs, and what submitit calls them, by their numbers.
    adopted
        Numbers of those that had been submitted before.
    queue
        The cluster's queue, by ids; None where it does not answer.
    logs
        Where the logs are.

    Returns
    -------
    The numbers of the jobs that the cluster has lost: they have left no result.
    """
    waits = [_Wait(job, submitted[job.number], job.number in adopted) for job in jobs]
    table = JobTable(logs)
    asked_s = -QUEUE_S
    try:
        while sum(wait.look() for wait in waits) < len(waits):
            if time.monotonic() - asked_s >= QUEUE_S:
                asked_s = time.monotonic()
                if (found := queue()) is not None:
                    for wait in waits:
                        wait.find_in(found)
                table.show([wait.line() for wait in waits])
            time.sleep(POLL_S)
        table.show([wait.line() for wait in waits])
    finally:
        table.close()
    return {wait.job.number for wait in waits if wait.lost}


def errors(submitted: Any) -> dict[int, str]:
    """The errors that tasks have ended with so far, by rank."""
    tasks = (submitted.task(rank) for rank in range(submitted.num_tasks))
    written = {t.task_id or 0: t for t in tasks if t.paths.result_pickle.exists()}
    found = {rank: task.exception() for rank, task in written.items()}
    return {rank: str(error) for rank, error in found.items() if error is not None}


class _Wait:
    """A job that is waited for."""

    def __init__(self, job: CheckedJob, submitted: Any, adopted: bool) -> None:
        self.job, self._submitted = job, submitted
        self._adopted = adopted
        self._queued: Queued | None = None
        self._ran = False
        self._ended = False
        self._failing_since: float | None = None
        self._gone_since: float | None = None
        self.lost = False

    def look(self) -> bool:
        """Whether it has ended: its first task has, or another one has failed unnoticed by it."""
        if self._ended:
            return True
        if self._submitted.task(0).done() or self.lost:
            self._ended = True
        elif not errors(self._submitted):
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = time.monotonic()
        elif time.monotonic() - self._failing_since > SETTLE_S:
            self._submitted.cancel(check=False)
            self._ended = True
        return self._ended

    def find_in(self, queue: Mapping[str, Queued]) -> None:
        """Note what the cluster says about it, unless it has ended."""
        if self._ended:
            return
        self._queued = queue.get(self._submitted.job_id)
        if self._queued is not None:
            self._gone_since = None
            self._ran = self._ran or self._queued.state == "RUNNING"
        elif self._gone_since is None:
            self._gone_since = time.monotonic()
        elif time.monotonic() - self._gone_since > LOST_S:
            self.lost = True

    def line(self) -> JobLine:
        """How it is."""
        name = f"#{self.job.number}  {self.job.described}".rstrip()
        state, why = "running", ""
        if self._ended:
            left = self._submitted.task(0).paths.result_pickle.exists()
            state = "ended" if left and not errors(self._submitted) else "failed"
        elif self._queued is not None and self._queued.state == "PENDING":
            state = "queued again" if self._ran else "pending"
            why = self._queued.why
        elif self._queued is not None:
            state, why = self._queued.state.lower(), self._queued.nodes
        if self._adopted and not self._ended:
            why = f"{why} (adopted)".lstrip()
        return JobLine(name, self._submitted.job_id, state, why, self._progress())

    def _progress(self) -> str:
        plan = self.job.plan
        if plan is None or not self.job.task.one_run:
            return ""
        try:
            text = (self.job.job.directory / "evals.jsonl").read_bytes()
            samples = json.loads(text.splitlines()[-1])["samples"]
        except (OSError, ValueError, IndexError, KeyError):  # not yet
            return ""
        return f"{samples:,} of {plan.budget_samples:,} samples"
