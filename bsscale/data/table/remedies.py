"""Options with their values as a user types them, for remedies."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

__all__ = ["option_list", "option_value"]


def option_list(option: str, values: Sequence[str]) -> str:
    """An option with a list as its value, in the syntax of a shell."""
    return _typed(f"dataset.{option}=[{','.join(map(_quoted, values))}]")


def option_value(option: str, value: str) -> str:
    """An option with one value, in the syntax of a shell."""
    return _typed(f"dataset.{option}={_quoted(value)}")


def _quoted(value: str) -> str:
    """A value in the form that Hydra reads as this text."""
    if re.fullmatch(r"[A-Za-z_?./-][\w?./-]*|0|[1-9][0-9]*", value, re.ASCII) and (
        value.lower() not in ("null", "true", "false", "nan", "inf")
    ):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _typed(argument: str) -> str:
    plain = re.fullmatch(r"[\w.=,\[\]/-]+", argument, re.ASCII)
    return argument if plain else shlex.quote(argument)
