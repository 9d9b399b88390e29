"""The command line of a process that torchrun or srun has started."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import datetime

from bsscale.errors import ConfigError
from bsscale.planning.world import World

__all__ = ["rank_overrides"]


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
