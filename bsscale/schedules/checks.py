"""Checks of names and choices, for whatever is given by name."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from bsscale.errors import ConfigError

__all__ = ["choice", "keys"]


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
