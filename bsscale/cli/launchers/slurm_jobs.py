"""What SLURM says about jobs: whether they can start, how they are, and which run already."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bsscale.errors import ConfigError
from bsscale.files.replace import write_json

__all__ = ["Queued", "Submitted", "check_startable", "queue", "read_submitted", "write_submitted"]

log = logging.getLogger(__name__)

# Nodes that start nothing now.
AWAY = "down,drain,drained,draining,fail,maint,no_respond"
# Why SLURM does not start a job, for as long as nobody changes the job or the cluster.
NEVER = (
    "AccountNotAllowed",
    "BadConstraints",
    "DependencyNeverSatisfied",
    "JobHeldAdmin",
    "JobHeldUser",
    "PartitionConfig",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "QOSNotAllowed",
)
# In a sweep's directory: which jobs it has submitted.
SUBMITTED = "slurm_jobs.json"


@dataclass(frozen=True)
class Queued:
    """A job in SLURM's queue.

    Attributes
    ----------
    state, reason, nodes
        As squeue says them.
    """

    state: str
    reason: str
    nodes: str

    @property
    def why(self) -> str:
        """Why it waits, and whether that can end by itself."""
        if self.reason == "None":
            return ""
        if self.reason in NEVER:
            return f"{self.reason}: SLURM does not start it as it is; scancel ends it"
        return self.reason


@dataclass(frozen=True)
class Submitted:
    """A job as its sweep's directory keeps it.

    Attributes
    ----------
    job_id
        SLURM's, such as 12_3.
    tasks
        How many tasks it has.
    overrides
        What it does.
    """

    job_id: str
    tasks: int
    overrides: list[str]


def check_startable(script: str, what: str) -> None:
    """Ask SLURM whether it can ever start a batch script.

    Parameters
    ----------
    script, what
        The script, and what it asks for, in words.

    Raises
    ------
    ConfigError
        If SLURM says no, and all of its nodes are up. Otherwise the job may start when they are;
        there is a warning.
    """
    asked = _call("sbatch", "--test-only", given=script)
    if asked.returncode == 0:
        return
    said = " ".join((asked.stderr or asked.stdout).split())
    fact = f"SLURM cannot start a job of {what}: {said}"
    if away := _call("sinfo", "--noheader", "--states", AWAY, "--format", "%N %T").stdout.split():
        log.warning("warning: %s; it may once these nodes are back: %s", fact, " ".join(away))
        return
    raise ConfigError(
        fact,
        "ask for less or for other nodes: hydra.launcher.tasks_per_node, gpus_per_node, partition, "
        "timeout_min and mem_gb (sinfo shows what there is)",
    )


def queue() -> dict[str, Queued] | None:
    """The jobs of this user in SLURM's queue, by id; None if SLURM does not answer now."""
    user = str(os.getuid())
    try:
        asked = _call("squeue", "--noheader", "--array", "--user", user, "--format", "%i|%T|%r|%N")
    except (OSError, subprocess.SubprocessError):
        return None
    if asked.returncode != 0:
        return None
    rows = [line.split("|") for line in asked.stdout.splitlines()]
    return {row[0]: Queued(*row[1:]) for row in rows if len(row) == 4}


def _call(*command: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, input=given, capture_output=True, text=True, check=False, timeout=60
    )


def read_submitted(sweep: Path) -> dict[int, Submitted]:
    """The jobs that a sweep in this directory has submitted, by their numbers."""
    try:
        read = json.loads((sweep / SUBMITTED).read_text(encoding="utf-8"))
        return {int(number): Submitted(**each) for number, each in read.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_submitted(sweep: Path, submitted: Mapping[int, Submitted]) -> None:
    """Write down which jobs a sweep has submitted."""
    write_json(sweep / SUBMITTED, {str(n): asdict(each) for n, each in submitted.items()})
