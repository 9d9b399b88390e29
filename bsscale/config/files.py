"""Options that come from a file or from a list: read, and checked as those of the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bsscale.errors import ConfigError
from bsscale.schedules import checks

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["read_json", "read_text", "read_yaml", "typed"]

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
    text = read_text(option, path)
    remedy = "give a YAML file of plain keys and values"
    try:
        # A few lines of aliases of aliases would grow without bound.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise ConfigError(f"{option}={path} holds YAML aliases (*NAME)", remedy)
        # OmegaConf reads 1e-3 as a number; plain YAML 1.1 requires 1.0e-3.
        content = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, AssertionError, ValueError) as error:
        raise ConfigError(f"{option}={path} is not YAML: {error}", remedy) from None
    except RecursionError:
        raise ConfigError(f"{option}={path} is nested too deeply", remedy) from None
    values = _mapping(option, path, content)
    if not values:
        raise ConfigError(
            f"{option}={path} holds no options",
            "give a file of keys with values; a file may be empty because what wrote it was ended",
        )
    _refuse_interpolations(values, f"{option}={path}")
    return values


def read_json(option: str, path: str) -> dict[str, Any]:
    """The object in a JSON file. Takes and raises what `read_yaml` does."""
    remedy = "give a JSON file"
    try:
        content = json.loads(read_text(option, path), object_pairs_hook=_unique)
    except ValueError as error:
        raise ConfigError(f"{option}={path} is not JSON: {error}", remedy) from None
    except RecursionError:
        raise ConfigError(f"{option}={path} is nested too deeply", remedy) from None
    return _mapping(option, path, content)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different: of two values, one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is given twice")
    return found


def typed(config: type[C], values: Mapping[str, Any], where: str) -> C:
    """A configuration with `values`, checked and converted as Hydra does.

    Raises
    ------
    ConfigError
        For an unknown option or a value of the wrong type.
    """
    _refuse_interpolations(values, where)
    checks.keys(values, [field.name for field in fields(config)], where)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(config), dict(values))
    except (OmegaConfBaseException, OverflowError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        key = getattr(error, "full_key", None) or "a value"
        raise ConfigError(f"{key} in {where}: {reason}", "give a value of that type") from None
    made = OmegaConf.to_object(merged)
    assert isinstance(made, config)
    return made


def _refuse_interpolations(values: Mapping[str, Any], where: str) -> None:
    """They could read the environment, secrets included, into the records."""
    for key, value in values.items():
        if "${" in f"{key}{value}":
            raise ConfigError(
                f"{where} refers to something else: {key}: {value}",
                "give plain values: what is read from a file is not resolved",
            )


def read_text(option: str, path: str) -> str:
    """The text of a file. Takes what `read_yaml` does, and raises ConfigError likewise."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig")  # (with a BOM or without)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{option}={path} is not UTF-8 text: byte 0x{error.object[error.start]:02x} at "
            f"position {error.start}",
            "save it as UTF-8 text, not compressed",
        ) from None
    except (OSError, ValueError, RuntimeError) as error:  # (no such user's ~)
        raise ConfigError(
            f"{option}={path} cannot be read: {error}",
            f"give a file; relative paths start from {Path.cwd()}",
        ) from None


def _mapping(option: str, path: str, content: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ConfigError(f"{option}={path} holds no options", "give a file of keys with values")
    return {str(key): value for key, value in content.items()}
