"""Options that come from a file or from a list: read, and checked as those of the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from bsscale.errors import ConfigError
from bsscale.schedules import checks

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["read_json", "read_yaml", "typed"]

C = TypeVar("C", bound="DataclassInstance")


def read_yaml(option: str, path: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Parameters
    ----------
    option
        Who names the file, for messages.
    path
        Relative to the working directory.

    Raises
    ------
    ConfigError
        If there is no such file, or no mapping in it.
    """
    try:
        # OmegaConf reads 1e-3 as a number; plain YAML 1.1 wants 1.0e-3.
        content = OmegaConf.to_container(OmegaConf.create(_read(option, path)))
    except (YAMLError, OmegaConfBaseException, AssertionError) as error:
        raise ConfigError(f"{option}={path} is not YAML: {error}", "give a YAML file") from None
    return _mapping(option, path, content)


def read_json(option: str, path: str) -> dict[str, Any]:
    """The object in a JSON file. Takes and raises what `read_yaml` does."""
    try:
        content = json.loads(_read(option, path))
    except ValueError as error:
        raise ConfigError(f"{option}={path} is not JSON: {error}", "give a JSON file") from None
    return _mapping(option, path, content)


def typed(config: type[C], values: Mapping[str, Any], where: str) -> C:
    """A configuration with `values`, checked and converted as Hydra does.

    Raises
    ------
    ConfigError
        For an unknown option or a value of the wrong type.
    """
    checks.keys(values, [field.name for field in fields(config)], where)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(config), dict(values))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"in {where}: {reason}", "give a value of that type") from None
    made = OmegaConf.to_object(merged)
    assert isinstance(made, config)
    return made


def _read(option: str, path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{option}={path} cannot be read: {error}",
            f"give a file; relative paths start from {Path.cwd()}",
        ) from None


def _mapping(option: str, path: str, content: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ConfigError(f"{option}={path} holds no options", "give a file of keys with values")
    return {str(key): value for key, value in content.items()}
