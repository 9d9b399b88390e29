"""Reading JSON as typed values, with errors that name the field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bsscale.errors import FormatVersionError, RecordsError

__all__ = ["FORMAT_VERSION", "read_object", "read_record", "typed", "version_of"]

# Of run.json, evals.jsonl and study.json. Version 1 is read, never written and never continued.
FORMAT_VERSION = 2

T = TypeVar("T")


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RecordsError
        If it cannot be read, or is no JSON object.
    """
    try:
        found = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, msgspec.DecodeError, RecursionError, ValueError) as error:
        raise RecordsError(f"{path} cannot be read: {error}", remedy) from error
    if not isinstance(found, dict):
        raise RecordsError(f"{path} is not a JSON object", remedy)
    return found


def version_of(data: dict[str, Any], path: Path) -> int:
    """The format version of a record.

    Raises
    ------
    RecordsError
        If there is none.
    FormatVersionError
        If it is newer than what this bsscale reads.
    """
    version = data.get("format_version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise RecordsError(
            f"{path} has format_version {version}, which is not a version", "leave it out"
        )
    if version > FORMAT_VERSION:
        raise FormatVersionError(
            f"{path} has format_version {version}, and this bsscale reads up to {FORMAT_VERSION}",
            "read it with the bsscale that wrote it, or a newer one",
        )
    return version


def read_record(
    path: Path,
    type_: type[T],
    of_version_1: Callable[[Mapping[str, Any]], dict[str, Any]],
    remedy: str,
) -> T:
    """The record in a file, of this version or of version 1, whose names are translated.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RecordsError
        If it cannot be read, or is not valid.
    FormatVersionError
        If it is of a newer version.
    """
    data = read_object(path, remedy)
    if version_of(data, path) == 1:
        data = of_version_1(data)
    return typed(data, type_, path, remedy)


def typed(data: Any, type_: type[T], where: object, remedy: str) -> T:
    """Plain containers as a typed value; fields that it does not know are ignored.

    Raises
    ------
    RecordsError
        For a field that is missing or of another type, by its path.
    """
    try:
        return msgspec.convert(data, type_)
    except msgspec.ValidationError as error:
        raise RecordsError(f"{where} is not valid: {error}", remedy) from error
