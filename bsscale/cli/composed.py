"""Checks of the composed configuration, from whatever source its values come."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from bsscale.cli.explain import explained
from bsscale.cli.store import CONFIG_DIRECTORY, SCHEMAS, choices
from bsscale.cli.words import MADE, TYPED, choose, no_target
from bsscale.errors import ConfigError

__all__ = ["check_composed"]

# Options that are paths, besides those of a data set.
_PATHS = ("schedule.preset", "schedule.config", "resume", "task.directory", "task.out", "task.runs")


def check_composed(cfg: DictConfig, hydra: Any = None) -> None:
    """Raise ConfigError for a configuration whose names and values contradict each other.

    A value may come from the command line, an experiment, a sweep or a file of the user's own.
    If Hydra changes the working directory, relative paths in `cfg` become absolute.

    Parameters
    ----------
    cfg
        The composed configuration.
    hydra
        Hydra's own part of it.

    Raises
    ------
    ConfigError
        For a missing part, an interpolation that cannot be resolved, a name that is not the name of
        its part, and a sweep whose jobs would change the working directory.
    """
    for group in (*TYPED, *MADE):
        if not isinstance(
            OmegaConf.select(cfg, group, throw_on_resolution_failure=False), DictConfig
        ):
            raise ConfigError(
                f"the configuration has no {group}",
                choose(group, choices()[group]),
            )
    for group in (*TYPED, *MADE):
        if "_target_" in cfg[group] and OmegaConf.is_missing(cfg[group], "_target_"):
            raise no_target(group)
    for key in cfg:
        if key != "hydra":
            _resolve(cfg, str(key))
    for group in TYPED:
        _check_typed(group, cfg[group])
    for group in MADE:
        _check_made(group, cfg[group])
    if hydra is not None and hydra.job.chdir:
        if hydra.mode == RunMode.MULTIRUN:
            raise ConfigError(
                "hydra.job.chdir=true in a sweep, whose jobs share one process and its directory",
                "leave it out: a run writes to its own directory anyway",
            )
        _make_absolute(cfg, Path(hydra.runtime.cwd))


def _make_absolute(cfg: DictConfig, typed_in: Path) -> None:
    """Make relative paths absolute: they start where the command was typed."""
    keys = [f"dataset.{key}" for key in cfg.dataset if str(key).endswith("path")]
    arms = OmegaConf.select(cfg, "task.arms")
    if isinstance(arms, DictConfig):
        keys += [
            f"task.arms.{arm}.schedule.{key}"
            for arm in map(str, arms)
            for key in ("preset", "config")
        ]
    for key in (*keys, *_PATHS):
        value = _selected(cfg, key)
        if OmegaConf.is_list(value):
            absolute: Any = [str(typed_in / Path(each).expanduser()) for each in value]
        elif isinstance(value, str) and not (key == "resume" and value in ("auto", "never")):
            absolute = str(typed_in / Path(value).expanduser())
        else:
            continue
        with open_dict(cfg), read_write(cfg):
            OmegaConf.update(cfg, key, absolute)


def _selected(cfg: DictConfig, key: str) -> Any:
    """A value; None where there is none (the schedule of an arm may be a plain name)."""
    try:
        return OmegaConf.select(cfg, key)
    except OmegaConfBaseException:
        return None


def _resolve(cfg: DictConfig, key: str) -> None:
    try:
        value = cfg._get_node(key)
        if OmegaConf.is_config(value):
            OmegaConf.to_container(value, resolve=True)
        elif not OmegaConf.is_missing(cfg, key):
            cfg[key]
    except OmegaConfBaseException as error:
        raise explained(error) or error from None


def _check_typed(group: str, node: DictConfig) -> None:
    name, kind = node.get("name"), OmegaConf.get_type(node)
    path = "executor/executor" if group == "executor" else f"{group}/{name}"
    if SCHEMAS.get(f"{group}/custom") is kind and name not in choices()[group]:
        return  # (a label; by default the import path)
    if SCHEMAS.get(path) is not kind:
        own = [each.rpartition("/")[2] for each in SCHEMAS if SCHEMAS[each] is kind]
        raise _wrong_name(group, name, own[0] if own else str(kind))


def _check_made(group: str, node: DictConfig) -> None:
    name, target = node.get("name"), node.get("_target_")
    for choice, own_target in _shipped_targets(group).items():
        if target == own_target and name != choice:
            raise _wrong_name(group, name, choice)
        if name == choice and target != own_target:
            raise ConfigError(
                f"{group}._target_={target} under the name {name}, which is another {group}",
                f"write {group}=custom {group}._target_={target}, or give {group}.name=YOURS in a "
                "file of your own",
            )


@cache
def _shipped_targets(group: str) -> dict[str, Any]:
    """What the files of a group that ships name, by the names of the files."""
    targets = {}
    for choice in sorted(choices()[group] - {"custom"}):
        file = OmegaConf.load(CONFIG_DIRECTORY / group / f"{choice}.yaml")
        assert isinstance(file, DictConfig)
        targets[choice] = file.get("_target_")
    return targets


def _wrong_name(group: str, name: Any, own: str) -> ConfigError:
    return ConfigError(
        f"{group}.name={name} would change the name of the {group}, which is {own}",
        choose(group, choices()[group]),
    )
