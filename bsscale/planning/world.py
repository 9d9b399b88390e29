"""Processes that something else has started for one run: torchrun, or SLURM's srun."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from bsscale.errors import ConfigError

__all__ = ["World"]

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# The port of a SLURM step's rendezvous; it is computed from the numbers of the job and the step.
FIRST_PORT, PORTS = 20_000, 20_000


@dataclass(frozen=True)
class World:
    """A process's place among the processes of a run.

    Attributes
    ----------
    size, rank
        How many processes there are, and which one this is.
    local_rank, local_size
        The same on this host.
    source
        Who started them: torchrun, srun or bsscale.
    store
        Host and port of the rendezvous; None if the environment variables give it (torch's
        ``env://``).
    attempt
        How often torchrun has started the processes before, if they find each other by the store
        of its agent, which lives on when they are started again; None elsewhere.
    """

    size: int
    rank: int
    local_rank: int
    local_size: int
    source: str
    store: tuple[str, int] | None = None
    attempt: int | None = None

    @property
    def on_one_host(self) -> bool:
        """Whether all of them are on this host."""
        return self.local_size == self.size

    def device_index(self, visible: int) -> int:
        """Which of the CUDA devices that this process sees is its own.

        Parameters
        ----------
        visible
            How many it sees: those of the host, or its own alone, as with
            ``srun --gpus-per-task=1``.
        """
        return self.local_rank if visible >= self.local_size else self.local_rank % visible

    @classmethod
    def here(cls, environ: Mapping[str, str] | None = None) -> World | None:
        """The place of this process, from its environment; None where it was started alone.

        Parameters
        ----------
        environ
            The environment variables; None for this process's own.

        Raises
        ------
        ConfigError
            If they contradict each other.

        Notes
        -----
        torchrun's variables: https://docs.pytorch.org/docs/stable/elastic/run.html. Of SLURM's,
        those of the *step* count: a batch script or a shell in an allocation of many tasks is not
        one of them, ``srun``'s processes are.
        """
        environ = os.environ if environ is None else environ
        missing = [name for name in TORCHRUN if name not in environ]
        if missing and "RANK" in environ and _number(environ, "WORLD_SIZE", 1) > 1:
            raise ConfigError(
                f"the environment says WORLD_SIZE={environ['WORLD_SIZE']}, but not "
                f"{', '.join(missing)}",
                "start the processes by torchrun, which sets all of them",
            )
        if not missing:
            numbers = {name: _number(environ, name) for name in TORCHRUN[:4]}
            source = "torchrun" if "TORCHELASTIC_RUN_ID" in environ else "the environment"
            shared = environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
            found = cls(
                size=numbers["WORLD_SIZE"],
                rank=numbers["RANK"],
                local_rank=numbers["LOCAL_RANK"],
                local_size=numbers["LOCAL_WORLD_SIZE"],
                source=source,
                attempt=_number(environ, "TORCHELASTIC_RESTART_COUNT", 0) if shared else None,
            )
            restarts = _number(environ, "TORCHELASTIC_MAX_RESTARTS", 0)
            # On one host, all processes know the attempt. On several, one that comes back counts
            # from 0 again.
            if shared and restarts > 0 and not found.on_one_host:
                raise ConfigError(
                    f"torchrun --max-restarts={restarts} on several hosts without "
                    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1: processes that are started again can "
                    "wait for ever for those that have ended",
                    "start torchrun on every host with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its "
                    "environment and --rdzv-backend c10d, or with --max-restarts=0",
                )
            return found
        if "SLURM_PROCID" in environ and _number(environ, "SLURM_STEP_NUM_TASKS", 1) > 1:
            return cls._of_slurm_step(environ)
        return None

    @classmethod
    def _of_slurm_step(cls, environ: Mapping[str, str]) -> World:
        size = _number(environ, "SLURM_STEP_NUM_TASKS")
        hosts = _number(environ, "SLURM_STEP_NUM_NODES", 1)
        unique = 7 * _number(environ, "SLURM_JOB_ID") + _number(environ, "SLURM_STEP_ID", 0)
        first = "127.0.0.1" if hosts == 1 else _first_host(environ["SLURM_STEP_NODELIST"])
        return cls(
            size=size,
            rank=_number(environ, "SLURM_PROCID"),
            local_rank=_number(environ, "SLURM_LOCALID"),
            # Tasks of a step may be spread unevenly; only whether it is all of them matters.
            local_size=size if hosts == 1 else _local_size(environ),
            source="srun",
            store=(first, FIRST_PORT + unique % PORTS),
        )


def _number(environ: Mapping[str, str], name: str, default: int | None = None) -> int:
    try:
        return int(environ.get(name, "" if default is None else str(default)))
    except ValueError:
        raise ConfigError(
            f"the environment says {name}={environ.get(name)!r}, which is not a number",
            "start bsscale by torchrun or srun, or once without their variables",
        ) from None


def _local_size(environ: Mapping[str, str]) -> int:
    """Tasks of the step on this host, from e.g. ``SLURM_STEP_TASKS_PER_NODE=2(x3),1``."""
    counts: list[int] = []
    for part in environ["SLURM_STEP_TASKS_PER_NODE"].split(","):
        tasks, _, times = part.removesuffix(")").partition("(x")
        counts += [int(tasks)] * int(times or 1)
    return counts[_number(environ, "SLURM_NODEID", 0)]


def _first_host(nodes: str) -> str:
    """The first host of a list such as ``n[1-2]``, as SLURM itself spells it out."""
    listed = subprocess.run(
        ["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True
    )
    return listed.stdout.split()[0]
