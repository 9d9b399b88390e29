"""The command line of a process that torchrun or srun has started."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from bsscale.errors import ConfigError
from bsscale.planning.world import World

__all__ = ["rank_overrides", "reports"]

# How long a process waits for the end that torchrun or srun brings it when rank 0 has failed.
REPORT_S = 5.0


def reports(error: str) -> bool:
    """Whether this process is to print an error that all processes of a run find.

    Rank 0 does so, once. What has started the processes ends the others meanwhile; an error of this
    host alone is printed after the wait for that. Where torchrun starts all of them again, only the
    first attempt prints it; torchrun's own report ends with it.

    Parameters
    ----------
    error
        Its text.
    """
    try:
        world = World.here()
    except ConfigError:  # it is the error
        rank, local_rank = os.environ.get("RANK", "0"), os.environ.get("LOCAL_RANK")
    else:
        rank, local_rank = ("0", "0") if world is None else (str(world.rank), str(world.local_rank))
    if rank != "0":
        time.sleep(REPORT_S if local_rank == "0" else 2 * REPORT_S)
    if (path := os.environ.get("TORCHELASTIC_ERROR_FILE")) is not None:
        with suppress(OSError):
            Path(path).write_text(
                json.dumps({"message": error, "timestamp": int(time.time())}), encoding="utf-8"
            )
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"


def rank_overrides(arguments: Sequence[str], world: World | None) -> list[str]:
    """The command line of one process of a run that something else has started.

    Parameters
    ----------
    arguments
        As all of them were started.
    world
        This process's place; None: it was started alone, and nothing is added.

    Raises
    ------
    ConfigError
        If each of them would start a sweep of its own.
    """
    if world is None:
        return list(arguments)
    if {"-m", "--multirun"} & set(arguments):
        raise ConfigError(
            f"-m in {world.size} processes that {world.source} has started: each would sweep",
            "start a sweep once (python -m bsscale -m executor=ddp ..., or with "
            "hydra/launcher=submitit_slurm), or a run without -m",
        )
    own = []
    if world.rank > 0:  # neither directory nor log
        own = ["hydra/job_logging=ranks_above_0", "hydra.output_subdir=null", "hydra.run.dir=."]
        arguments = [each for each in arguments if not each.startswith("hydra.run.dir=")]
    elif not any(each.startswith("hydra.run.dir=") for each in arguments):
        own = [f"hydra.run.dir={_common_directory()}"]
    return [*arguments, *own]


def _common_directory() -> str:
    """A default directory that is the same when torchrun or SLURM starts the run again."""
    import psutil

    run_id = os.environ.get("TORCHELASTIC_RUN_ID")
    if run_id is None and "SLURM_JOB_ID" in os.environ:
        return f"outputs/slurm-{os.environ['SLURM_JOB_ID']}.{os.environ.get('SLURM_STEP_ID', 0)}"
    # Without --rdzv-id the id is "none" or random, and then only torchrun itself can restart the
    # processes.
    if run_id not in (None, "none") and not re.fullmatch(
        r"[0-9a-f]{8}(-[0-9a-f]{4,12}){4}", run_id
    ):
        return f"outputs/{run_id}"
    started = datetime.fromtimestamp(psutil.Process(os.getppid()).create_time())
    return f"outputs/{started:%Y-%m-%d/%H-%M-%S-%f}"
