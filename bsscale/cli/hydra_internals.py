"""The private parts of Hydra that bsscale needs; only this file imports them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

from hydra._internal import config_loader_impl, utils
from hydra._internal.callbacks import Callbacks
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

__all__ = [
    "flags_parser",
    "launcher_of_sweep",
    "leave_checks_to",
    "loader_of_many",
    "register_launcher",
    "report_errors_by",
]

# Hydra instantiates a launcher only under a name in hydra_plugins, the namespace that it scans for
# installed plugins. A class can be registered under such a name without a package of that name.
_NAMESPACE = "hydra_plugins.bsscale."

flags_parser = utils.get_args_parser
_composing: Any = config_loader_impl
_hydras_defaults_list = _composing.create_defaults_list


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
    # (Plugins are loaded anew when they are found: a class that was imported is another one.)
    found: Any = Plugins.instance().class_name_to_class
    sweeper = found["hydra._internal.core_plugins.basic_sweeper.BasicSweeper"]
    hydras_own = sweeper.validate_batch_is_legal

    def validate(sweeper: Any, batch: Sequence[Sequence[str]]) -> None:
        if not isinstance(sweeper.launcher, launcher):
            hydras_own(sweeper, batch)

    sweeper.validate_batch_is_legal = validate


def loader_of_many(loader: ConfigLoader) -> ConfigLoader:
    """A loader that composes what `loader` does, many times in less time.

    It is for the jobs of one sweep: files that change meanwhile are not read again.
    """
    return _LoaderOfMany(loader.get_search_path())


class _LoaderOfMany(config_loader_impl.ConfigLoaderImpl):
    """Hydra's loader, which finds, reads and merges the files of each choice of groups once.

    Hydra itself copies its repository for each composition, with all that is in its store. Values
    are applied and checked by Hydra, to a copy of the merged files.
    """

    def __init__(self, search_path: Any) -> None:
        super().__init__(search_path)
        self._parsed: dict[str, Override] = {}
        self._repositories: dict[Hashable, Any] = {}
        self._groups: dict[Hashable, bool] = {}
        self._defaults: dict[Hashable, Any] = {}
        # By the identity of a list in `_defaults`.
        self._merged: dict[int, DictConfig] = {}

    def _load_configuration_impl(self, *arguments: Any, **named: Any) -> DictConfig:
        _composing.create_defaults_list = self._defaults_list
        try:
            return super()._load_configuration_impl(*arguments, **named)
        finally:
            _composing.create_defaults_list = _hydras_defaults_list

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], Any]:
        parsed = [self._override(each) for each in overrides]
        # What the folders that are searched depend on.
        paths = [each for each in parsed if each.get_key_element() == "hydra.searchpath"]
        key = (config_name, *(each.input_line for each in paths))
        if key not in self._repositories:
            created = super()._parse_overrides_and_create_caching_repo(config_name, overrides)
            self._repositories[key] = created[1]
        return parsed, self._repositories[key]

    def _override(self, text: str) -> Override:
        if text not in self._parsed:
            [self._parsed[text]] = OverridesParser.create().parse_overrides([text])
        return self._parsed[text]

    def _defaults_list(
        self, repo: Any, config_name: str | None, overrides_list: list[Override], **named: Any
    ) -> Any:
        choices: list[Override] = []
        values: list[Override] = []
        for each in overrides_list:
            of_group = self._is_group(repo, each.key_or_group)
            if not each.is_sweep_override():
                (values if not of_group or isinstance(each.value(), dict) else choices).append(each)
        lines = [each.input_line for each in choices]
        key = (id(repo), config_name, *lines, *named.items())
        if key not in self._defaults:
            self._defaults[key] = _hydras_defaults_list(repo, config_name, choices, **named)
        return replace(self._defaults[key], config_overrides=values)

    def _is_group(self, repo: Any, name: str) -> bool:
        key = (id(repo), name)
        if key not in self._groups:
            self._groups[key] = repo.group_exists(name)
        return self._groups[key]

    def _compose_config_from_defaults_list(self, defaults: list[Any], repo: Any) -> DictConfig:
        if id(defaults) not in self._merged:
            # (merging changes what it has read)
            own = copy.copy(repo)
            own.cache = copy.deepcopy(repo.cache)
            merged = super()._compose_config_from_defaults_list(defaults, own)
            self._merged[id(defaults)] = merged
        return copy.deepcopy(self._merged[id(defaults)])


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
