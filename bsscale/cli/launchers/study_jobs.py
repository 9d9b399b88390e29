"""Jobs of a study, started by the launcher that starts those of a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, RunMode

from bsscale.cli.launchers.names import IN_THIS_PROCESS
from bsscale.errors import ConfigError
from bsscale.planning.devices import Devices

__all__ = ["jobs_of"]


def jobs_of(function: Callable[..., Any], context: Any) -> LaunchedJobs | None:
    """What starts the jobs of a study.

    Parameters
    ----------
    function
        What Hydra calls as a job.
    context
        Hydra's own configuration of this process.

    Returns
    -------
    None where hydra/launcher names one that trains in this process.
    """
    if context.runtime.choices["hydra/launcher"] in IN_THIS_PROCESS:
        return None
    return LaunchedJobs(function, context)


class LaunchedJobs:
    """The same command in a job, told to carry out a part of a work alone."""

    def __init__(self, function: Callable[..., Any], context: Any) -> None:
        self._task_function = function
        self._config_name = context.job.config_name
        self._task = list(context.overrides.task)
        self._hydra = [
            each for each in context.overrides.hydra if not each.startswith("hydra.mode=")
        ]
        self._launcher(Path())  # says now if it is not installed

    @property
    def devices(self) -> Devices:
        """What a job finds where it runs."""
        launcher = self._launcher(Path())
        devices = getattr(launcher, "devices_of_node", Devices.here)()
        assert isinstance(devices, Devices)
        return devices

    def carry_out(self, work: Path, parts: Sequence[int]) -> None:
        """Start a job for each part, and wait until all have ended."""
        launcher = self._launcher(work.parent)
        before = HydraConfig.instance().cfg
        try:
            launcher.launch(
                [
                    [*self._task, f"task.work={json.dumps(str(work))}", f"task.part={part}"]
                    for part in parts
                ],
                0,
            )
        except CompactHydraException as error:
            raise ConfigError(str(error), "give other options of hydra.launcher") from error
        finally:
            HydraConfig.instance().cfg = before

    def _launcher(self, directory: Path) -> Any:
        """Hydra's launcher as a sweep in that directory would have it."""
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config(
            config_name=self._config_name,
            overrides=[
                *self._hydra,
                "hydra.mode=MULTIRUN",
                f"hydra.sweep.dir={json.dumps(str(directory))}",
                *self._task,
            ],
            run_mode=RunMode.MULTIRUN,
            with_log_configuration=False,
        )
        return Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(hydra.config_loader, Callbacks(config)),
            task_function=self._task_function,
            config=config,
        )
