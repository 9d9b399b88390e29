"""The private parts of Hydra that bsscale needs; only this file imports them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hydra._internal import utils
from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

__all__ = [
    "flags_parser",
    "launcher_of_sweep",
    "leave_checks_to",
    "register_launcher",
    "report_errors_by",
]

# Hydra instantiates a launcher only under a name in hydra_plugins, the namespace that it scans for
# installed plugins. A class can be registered under such a name without a package of that name.
_NAMESPACE = "hydra_plugins.bsscale."

flags_parser = utils.get_args_parser


def report_errors_by(report: Callable[[Exception], None]) -> None:
    """Let `report` see every error that Hydra is about to report, for the rest of this process.

    Parameters
    ----------
    report
        Ends the process if it has reported the error; returns to leave it to Hydra.
    """
    hydras_own = utils.run_and_report

    def run_and_report(func: Any) -> Any:
        def reported() -> Any:
            try:
                return func()
            except Exception as error:
                report(error)
                raise

        return hydras_own(reported)

    utils.run_and_report = run_and_report


def leave_checks_to(launcher: type[Any]) -> None:
    """Compose each job of a sweep once: where such a launcher checks them, the sweeper does not."""
    hydras_own = BasicSweeper.validate_batch_is_legal

    def validate(sweeper: Any, batch: Sequence[Sequence[str]]) -> None:
        if not isinstance(sweeper.launcher, launcher):
            hydras_own(sweeper, batch)

    BasicSweeper.validate_batch_is_legal = validate  # type: ignore[method-assign, assignment]


def register_launcher(
    name: str, launcher: type[Launcher], options: dict[str, Any], any_option: bool = False
) -> None:
    """Make a launcher known as ``hydra/launcher=NAME``.

    Parameters
    ----------
    name
        Its name on the command line.
    launcher
        Its class.
    options
        Its options, and their defaults.
    any_option
        Whether it takes options that are not among `options`.
    """
    plugins, target = Plugins.instance(), _NAMESPACE + launcher.__name__
    plugins.register(launcher)
    plugins.class_name_to_class[target] = launcher
    flags = {"struct": False} if any_option else None
    node = OmegaConf.create({**options, "_target_": target}, flags=flags)
    ConfigStore.instance().store(group="hydra/launcher", name=name, node=node)


def launcher_of_sweep(
    config_name: str, overrides: Sequence[str], function: Callable[..., Any]
) -> Launcher:
    """The launcher that a sweep with these overrides would have, inside a job of Hydra's.

    Parameters
    ----------
    config_name
        Of the primary configuration.
    overrides
        The command line of the sweep, without ``-m``.
    function
        What carries out a composed configuration.
    """
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    config = hydra.compose_config(
        config_name=config_name,
        overrides=["hydra.mode=MULTIRUN", *overrides],
        run_mode=RunMode.MULTIRUN,
        with_log_configuration=False,
    )
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=HydraContext(hydra.config_loader, Callbacks(config)),
        task_function=function,
        config=config,
    )
    assert isinstance(launcher, Launcher)
    return launcher
