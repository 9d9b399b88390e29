"""Checks of names, choices and import paths."""

from __future__ import annotations

import difflib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from bsscale.errors import ConfigError

__all__ = ["choice", "imported", "joined", "keys", "parameters_of"]


def choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Check that `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}", f"give {' or '.join(map(repr, choices))}")


def keys(given: Collection[str], known: Collection[str], where: str) -> None:
    """Check that every key is a known one."""
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            guess = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(
                f"{key!r} is not known in {where}", f"{guess}known are {', '.join(known)}"
            )


def imported(option: str, path: str, example: str) -> Callable[..., Any]:
    """The class or function that an option names by its import path.

    Raises
    ------
    ConfigError
        If it does not exist, or if it cannot be called.
    """
    if not path or path == "???":
        raise ConfigError(f"{option} is not given", f"give an import path: {option}={example}")
    try:
        found = pkgutil.resolve_name(path)
    except Exception as error:  # (a user's module may raise any error)
        text = " ".join(str(error).split())
        raise ConfigError(
            f"cannot import {option}={path}: {type(error).__name__}: {text}",
            "check the path; your own module must be importable (in the directory where the "
            "command is typed, installed, or on PYTHONPATH)",
        ) from error
    if not callable(found):
        raise ConfigError(
            f"{option}={path} is a {type(found).__name__}, which cannot be called",
            f"name a class or a function, such as {example}",
        )
    return cast("Callable[..., Any]", found)


def parameters_of(target: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the parameters of a class or function; empty if they are unknown."""
    try:
        return tuple(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return ()


def joined(group: str, options: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a target, below ``options`` or beside it; raises if one is given twice."""
    for key in own:
        if key in options:
            raise ConfigError(
                f"{group}.{key}={own[key]} and {group}.options.{key}={options[key]} both give "
                f"{key}",
                "give one of them",
            )
    return {**options, **own}
