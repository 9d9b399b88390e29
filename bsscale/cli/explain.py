"""Errors of Hydra and OmegaConf as errors of bsscale: fact, value and remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from bsscale.cli.store import choices_with
from bsscale.cli.words import HELP, MADE, help_on, no_target, suggestion
from bsscale.config import Config
from bsscale.errors import BsscaleError, ConfigError

__all__ = ["explained"]

# Parts of OmegaConf's messages about wrong types, and the type to give.
_KINDS = {
    "to Integer": "a whole number",
    "to Float": "a number",
    "Union[int, str]": "a whole number or a text",
    "Union[bool, str]": "true, false or a text",
    "a valid bool": "true or false",
    "to string": "a text",
}


def explained(error: BaseException) -> BsscaleError | None:
    """The error as one that a user can correct; None for an error in the program."""
    if isinstance(error, BsscaleError):
        return error
    if isinstance(error, MissingConfigException):
        return _missing_file(error)
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        return _omegaconf_error(cause, str(error))
    if isinstance(error, HydraException):
        fact, has_remedy, remedy = _without_hints(str(error)).partition("\n  -> ")
        return ConfigError(fact, remedy if has_remedy else HELP)
    return None


def _omegaconf_error(error: OmegaConfBaseException, said: str) -> ConfigError:
    key, message = error.full_key or str(error.key), _first_line(str(error))
    written = said.partition("Error merging override ")[2].strip() or f"{key}={error.value}"
    if isinstance(error, InterpolationResolutionError):
        if without := re.search(r"mandatory value: (\w+)\._target_", message):
            return no_target(without[1])
        return ConfigError(
            f"{key} refers to something that cannot be found: {message}",
            "${NAME} names another option and ${oc.env:NAME} an environment variable: name one "
            "that exists, or give a plain value",
        )
    if isinstance(error, MissingMandatoryValue):
        return ConfigError(f"{key} is missing", f"give {key}=VALUE")
    if isinstance(error, ConfigAttributeError | ConfigKeyError):
        return _no_option(key, error)
    if isinstance(error, ValidationError):
        if "is not Optional" in message:
            return ConfigError(
                f"{written}: null is no value of {key}", f"leave it out, or give a value of {key}"
            )
        kinds = [kind for part, kind in _KINDS.items() if part in message]
        if kinds:
            return ConfigError(f"{written} is not {kinds[0]}", f"give {key} as {kinds[0]}")
    if "Cannot merge DictConfig with ListConfig" in message:
        option = written.partition("=")[0]
        return ConfigError(
            f"{written} is a list, and what {option} has are names with values",
            f"give {option}.NAME=VALUE; +{option}.NAME=VALUE adds one, ~{option}.NAME removes one",
        )
    return ConfigError(f"{written}: {message}", HELP)


def _no_option(key: str, error: OmegaConfBaseException) -> ConfigError:
    """The error for an unknown option, with similar options."""
    owner, _, name = key.rpartition(".")
    node = error.parent_node
    siblings = [str(each) for each in node] if isinstance(node, DictConfig) else []
    known = [field.name for field in fields(Config)]
    guess = suggestion(name, siblings, f"{owner}." if owner else "", known)
    group = owner.partition(".")[0]
    if not group or group == "hydra":
        return ConfigError(f"there is no option {key}", guess + HELP)
    chosen = node.get("name") if isinstance(node, DictConfig) and owner == group else None
    if group in MADE and isinstance(node, DictConfig):
        target = str(node.get("_target_", ""))
        if not target.startswith("bsscale."):
            return ConfigError(
                f"there is no option {key}",
                f"{guess}if {target} takes an argument of that name, add it: +{key}=VALUE",
            )
    which = f"{group}={chosen}" if chosen else group
    if others := choices_with(owner, name):
        return ConfigError(
            f"{which} has no option {name}",
            f"{key} is an option of {' and '.join(f'{group}={each}' for each in others)}: write "
            f"{group}={others[0]} {key}=VALUE, or leave it out",
        )
    if owner == "task.arms":
        guess = f"{guess}+{key}=VALUE adds an arm; "
    return ConfigError(f"there is no option {key}", guess + help_on(which))


def _missing_file(error: MissingConfigException) -> ConfigError:
    name = error.missing_cfg_file or ""
    group, _, choice = name.rpartition("/")
    if not group:
        return ConfigError(f"there is no configuration {name or _first_line(str(error))}", HELP)
    known: Sequence[str] = error.options or []
    remedy = suggestion(choice, known, f"{group}=")
    if known:
        remedy += f"there are {', '.join(known)}"
    return ConfigError(f"there is no {group}={choice}", remedy or HELP)


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]


def _without_hints(text: str) -> str:
    """A message without Hydra's advice to add the unknown option."""
    hints = ("To append to your", "See https://hydra.cc", "Set the environment variable")
    lines = [line for line in text.strip().splitlines() if not line.lstrip().startswith(hints)]
    return "\n".join(lines).removeprefix("error: ")
