"""The launchers' names, made known to Hydra from code: there is no hydra_plugins package here."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

from bsscale.cli.launchers.stacked import StackedLauncher

__all__ = ["register_launchers"]

# Hydra instantiates a launcher only under a name in hydra_plugins, the namespace that it scans for
# installed plugins. Registering a class under such a name needs no such package.
_NAMESPACE = "hydra_plugins.bsscale."


@dataclass(frozen=True)
class _Cluster:
    """A plugin of Hydra's whose launcher is made to fit bsscale, under the plugin's own name.

    Attributes
    ----------
    plugin
        The plugin's launcher.
    ours
        Module and class that replace it.
    extra
        What brings the plugin: ``pip install 'bsscale[extra]'``.
    defaults
        Options that differ from the plugin's.
    without
        Options of the plugin's that follow from the jobs here.
    """

    plugin: str
    ours: tuple[str, str]
    extra: str
    defaults: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()


_SUBMITIT = "hydra_plugins.hydra_submitit_launcher.submitit_launcher."
_CLUSTERS = {
    "submitit_slurm": _Cluster(
        _SUBMITIT + "SlurmLauncher",
        ("bsscale.cli.launchers.slurm", "SlurmLauncher"),
        "slurm",
        defaults={
            "tasks_per_node": None,
            # A job that ran out of time is queued again, and goes on.
            "max_num_timeout": 100,
            "additional_parameters": {"requeue": True},
        },
        without=("nodes",),
    ),
    "submitit_local": _Cluster(
        _SUBMITIT + "LocalLauncher",
        ("bsscale.cli.launchers.slurm", "LocalLauncher"),
        "slurm",
        # Nobody else waits for this host.
        defaults={"timeout_min": 7 * 24 * 60},
        without=("nodes", "tasks_per_node"),
    ),
    "ray": _Cluster(
        "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
        ("bsscale.cli.launchers.ray", "RayLauncher"),
        "ray",
    ),
    "joblib": _Cluster(
        "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
        ("bsscale.cli.launchers.joblib", "JoblibLauncher"),
        "joblib",
    ),
}


class NotInstalled(Launcher):
    """A launcher whose plugin is missing: it says what to install."""

    def __init__(self, name: str, extra: str, **_: Any) -> None:
        self._name, self._extra = name, extra

    def setup(self, **_: Any) -> None:
        raise CompactHydraException(
            f"hydra/launcher={self._name} needs a plugin that is not installed\n"
            f"  -> pip install 'bsscale[{self._extra}]', "
            f"from a checkout pip install -e '.[{self._extra}]'"
        )

    def launch(self, *_: Any) -> Any:
        raise NotImplementedError  # (Hydra calls setup first)


def register_launchers() -> None:
    """Make every launcher of bsscale's known to Hydra."""
    plugins = Plugins.instance()  # scans what is installed
    installed = plugins.class_name_to_class.keys()
    names = {name: each for name, each in _CLUSTERS.items() if each.plugin in installed}
    _register("stacked", StackedLauncher, {})
    for name, cluster in _CLUSTERS.items():
        if name in names:
            module, ours = cluster.ours
            _register(name, getattr(importlib.import_module(module), ours), _options(name, cluster))
        else:
            _register(name, NotInstalled, {"name": name, "extra": cluster.extra}, open_=True)


def _options(name: str, cluster: _Cluster) -> dict[str, Any]:
    """The plugin's own options, with what differs here."""
    node = ConfigStore.instance().load(f"hydra/launcher/{name}.yaml").node
    options = OmegaConf.to_container(node)
    assert isinstance(options, dict)
    kept = {str(key): value for key, value in options.items() if key not in cluster.without}
    return {**kept, **cluster.defaults}


def _register(
    name: str, ours: type[Launcher], options: dict[str, Any], open_: bool = False
) -> None:
    plugins, plugin_name = Plugins.instance(), _NAMESPACE + ours.__name__
    plugins.register(ours)
    plugins.class_name_to_class[plugin_name] = ours
    # Whatever the plugin is told, what is said is that it is missing.
    flags = {"struct": False} if open_ else None
    node = OmegaConf.create({**options, "_target_": plugin_name}, flags=flags)
    ConfigStore.instance().store(group="hydra/launcher", name=name, node=node)
