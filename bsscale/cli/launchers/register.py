"""The launchers' names, made known to Hydra from code: there is no hydra_plugins package here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

from bsscale.cli.hydra_internals import leave_checks_to, register_launcher
from bsscale.cli.launchers.checked import CheckedLauncher
from bsscale.cli.launchers.joblib import JoblibLauncher
from bsscale.cli.launchers.ray import RayLauncher
from bsscale.cli.launchers.slurm import SlurmLauncher
from bsscale.cli.launchers.stacked import StackedLauncher
from bsscale.cli.launchers.submitit_local import LocalLauncher

__all__ = ["LAUNCHERS", "register_launchers"]


@dataclass(frozen=True)
class _Cluster:
    """A launcher that has the name and the options of a plugin of Hydra's.

    Attributes
    ----------
    plugin
        The plugin's launcher, which this one replaces.
    ours
        The class that replaces it.
    extra
        What brings the plugin: ``pip install 'bsscale[extra]'``.
    defaults
        Options that differ from the plugin's.
    without
        Options of the plugin that bsscale sets from the plans of the jobs.
    """

    plugin: str
    ours: type[Launcher]
    extra: str
    defaults: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()


_SUBMITIT = "hydra_plugins.hydra_submitit_launcher.submitit_launcher."
_CLUSTERS = {
    "submitit_slurm": _Cluster(
        _SUBMITIT + "SlurmLauncher",
        SlurmLauncher,
        "slurm",
        defaults={
            "tasks_per_node": None,
            # A job that ran out of time is queued again, and continues.
            "max_num_timeout": 100,
            "additional_parameters": {"requeue": True},
        },
        without=("nodes",),
    ),
    "submitit_local": _Cluster(
        _SUBMITIT + "LocalLauncher",
        LocalLauncher,
        "slurm",
        # No scheduler limits the time on this host.
        defaults={"timeout_min": 7 * 24 * 60},
        without=("nodes", "tasks_per_node"),
    ),
    "ray": _Cluster(
        "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher", RayLauncher, "ray"
    ),
    "joblib": _Cluster(
        "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
        JoblibLauncher,
        "joblib",
    ),
}

# The names that hydra/launcher takes.
LAUNCHERS = ("stacked", "basic", *_CLUSTERS)


class NotInstalled(Launcher):
    """A launcher whose plugin is missing: its error names what to install."""

    def __init__(self, name: str, extra: str, **_: Any) -> None:
        self._name, self._extra = name, extra

    def setup(self, **_: Any) -> None:
        raise CompactHydraException(
            f"hydra/launcher={self._name} needs a plugin that is not installed\n"
            f"  -> pip install 'bsscale[{self._extra}]', "
            f"from a checkout pip install -e '.[{self._extra}]'"
        )

    def launch(self, *_: Any) -> Any:
        return self.setup()  # (which Hydra has called before, and which raises)


def register_launchers() -> None:
    """Make every launcher of bsscale's known to Hydra."""
    leave_checks_to(CheckedLauncher)
    installed = Plugins.instance().class_name_to_class.keys()  # scans what is installed
    register_launcher("stacked", StackedLauncher, {})
    for name, cluster in _CLUSTERS.items():
        if cluster.plugin in installed:
            register_launcher(name, cluster.ours, _options(name, cluster))
        else:
            # Whatever options it is given, the error is that the plugin is missing.
            options = {"name": name, "extra": cluster.extra}
            register_launcher(name, NotInstalled, options, any_option=True)


def _options(name: str, cluster: _Cluster) -> dict[str, Any]:
    """The plugin's own options, with what differs here."""
    node = ConfigStore.instance().load(f"hydra/launcher/{name}.yaml").node
    options = OmegaConf.to_container(node)
    assert isinstance(options, dict)
    kept = {str(key): value for key, value in options.items() if key not in cluster.without}
    return {**kept, **cluster.defaults}
