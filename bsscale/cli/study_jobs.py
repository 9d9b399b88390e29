"""Jobs of a study, started by the launcher that starts those of a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher

from bsscale.cli.hydra_internals import launcher_of_sweep
from bsscale.errors import ConfigError
from bsscale.planning.devices import Devices

__all__ = ["IN_THIS_PROCESS", "LaunchedJobs", "jobs_of"]

# The launchers that start no other process.
IN_THIS_PROCESS = ("stacked", "basic")


def jobs_of(function: Callable[..., Any], hydra: Any) -> LaunchedJobs | None:
    """What starts the jobs of a study.

    Parameters
    ----------
    function
        What carries out a composed configuration.
    hydra
        Hydra's own part of this process's configuration.

    Returns
    -------
    None where hydra/launcher names one that trains in this process.
    """
    if hydra.runtime.choices["hydra/launcher"] in IN_THIS_PROCESS:
        return None
    return LaunchedJobs(function, hydra)


class LaunchedJobs:
    """Starts the study's own command again in jobs; each carries out one part of a work."""

    def __init__(self, function: Callable[..., Any], hydra: Any) -> None:
        self._function = function
        self._config_name = hydra.job.config_name
        self._task = list(hydra.overrides.task)
        self._hydra = [each for each in hydra.overrides.hydra if not each.startswith("hydra.mode=")]
        self._launcher(Path())  # raises here if its plugin is not installed

    @property
    def devices(self) -> Devices:
        """What a job finds where it runs."""
        devices = getattr(self._launcher(Path()), "devices_of_node", Devices.here)()
        assert isinstance(devices, Devices)
        return devices.of_jobs()

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

    def _launcher(self, directory: Path) -> Launcher:
        """Hydra's launcher as a sweep in that directory would have it."""
        sweep = f"hydra.sweep.dir={json.dumps(str(directory))}"
        overrides = [*self._hydra, sweep, *self._task]
        return launcher_of_sweep(self._config_name, overrides, self._function)
