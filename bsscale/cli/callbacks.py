"""Before and after Hydra's jobs: the output directory is tested, a multirun is concluded."""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from bsscale.cli.jobs import preserve_hydra_directory
from bsscale.cli.launchers.checked import CheckedLauncher
from bsscale.cli.saved import SavedSweep
from bsscale.cli.study_jobs import IN_THIS_PROCESS
from bsscale.cli.tasks import TASKS
from bsscale.errors import BsscaleError
from bsscale.planning.world import World
from bsscale.terminal.console import print_error

if TYPE_CHECKING:
    from bsscale.config import TrackerOptions

__all__ = ["Around"]

log = logging.getLogger(__name__)


class Around(Callback):
    """hydra.callbacks.around in conf/config.yaml; works with every launcher.

    Hydra turns an exception of a callback into a warning, so each callback ends the process itself.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse a launcher that has nothing to start, and a directory that cannot be written."""
        HydraConfig.instance().set_config(config)
        launcher = HydraConfig.get().runtime.choices["hydra/launcher"]
        name = OmegaConf.select(config, "task.name", throw_on_resolution_failure=False)
        if launcher not in IN_THIS_PROCESS and name in TASKS and not TASKS[name].starts_jobs:
            print_error(
                f"hydra/launcher={launcher} starts a sweep's runs, and this is one run\n"
                "  -> add -m (a sweep may be of one run), or leave hydra/launcher out"
            )
            sys.exit(1)
        world = World.here()
        if world is not None and world.rank > 0:  # it writes nothing
            return
        _try_directory(Path(config.hydra.run.dir))
        preserve_hydra_directory(config, Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse a sweep directory that cannot be written."""
        _try_directory(Path(config.hydra.sweep.dir))
        SavedSweep.remember(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Let the task conclude the sweep; exit with 1 if a job failed."""
        if config.dry_run:
            return
        tracker = cast("TrackerOptions", OmegaConf.to_object(config.tracker))
        try:
            good = TASKS[config.task.name].end_sweep(Path(config.hydra.sweep.dir), tracker)
        except BsscaleError as error:
            log.error("error: %s", error)
            good = False
        if not good or CheckedLauncher.any_failed:
            sys.exit(1)


def _try_directory(directory: Path) -> None:
    from bsscale.records.directories import unwritable_error

    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        print_error(str(unwritable_error(directory, error)))
        sys.exit(1)
