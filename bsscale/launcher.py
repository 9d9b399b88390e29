"""The launcher behind ``-m``: every job is checked before the first is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, filter_overrides
from hydra.errors import CompactHydraException

from bsscale.errors import BsscaleError

__all__ = ["SequentialLauncher", "register_launcher"]


# Hydra instantiates a launcher only under a name in hydra_plugins, the namespace it scans for
# installed plugins. Registering the class under such a name needs no such package.
_PLUGIN_NAME = "hydra_plugins.bsscale.SequentialLauncher"


@dataclass
class SequentialLauncherConfig:
    """hydra/launcher=sequential."""

    _target_: str = _PLUGIN_NAME


class SequentialLauncher(BasicLauncher):
    """Hydra's basic launcher, which trains one job after the other, with a check before it.

    A sweep that would stop at its ninth job because of a wrong value stops before its first.
    """

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from bsscale.cli import check_job

        assert self.hydra_context is not None and self.config is not None
        for overrides in job_overrides:
            job = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            try:
                check_job(job)
            except BsscaleError as error:
                described = " ".join(filter_overrides(overrides))
                raise CompactHydraException(
                    f"Nothing was trained: in the job {described}: {error}"
                ) from None
        runs: Sequence[JobReturn] = super().launch(job_overrides, initial_job_idx)
        return runs


def register_launcher() -> None:
    """Make hydra/launcher=sequential known, without a hydra_plugins package."""
    plugins = Plugins.instance()
    plugins.register(SequentialLauncher)
    plugins.class_name_to_class[_PLUGIN_NAME] = SequentialLauncher
    ConfigStore.instance().store(
        group="hydra/launcher", name="sequential", node=SequentialLauncherConfig
    )
