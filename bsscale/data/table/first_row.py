"""The first row of a text file: its names, or the reason why it cannot be the first row."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bsscale.data.table.values import NUMBER
from bsscale.errors import DataError

__all__ = ["NAMES", "check_first_row", "first_row"]

NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def first_row(content: bytes, path: Path, separator: str) -> tuple[tuple[str, ...], int]:
    """The first row that is not blank, and the offset of the next row."""
    read = 0

    def lines() -> Iterator[str]:
        nonlocal read
        while read < len(content):
            end = content.find(b"\n", read) + 1 or len(content)
            line, read = content[read:end], end
            yield line.decode()

    try:
        for row in csv.reader(lines(), delimiter=separator, strict=True):
            if row:
                return tuple(row), read
    except csv.Error as error:
        raise DataError(
            f"cannot read the first row of {path}: {error}",
            f"give a first row with fields of at most {csv.field_size_limit():,} characters",
        ) from error
    raise DataError(f"{path} is empty: it has no rows", "give a file with a header and rows")


def check_first_row(
    first: tuple[str, ...],
    path: Path,
    separator: str,
    names: tuple[str, ...] | None,
    fields: npt.NDArray[np.int64],
) -> None:
    """Raise DataError if this cannot be the first row of such a table."""
    others = [s for s in NAMES if s != separator and s in first[0]]
    if first[0].lower().startswith("sep=") and len(first) <= 2:
        raise DataError(
            f"the first line of {path} is {separator.join(first)!r}, a note for spreadsheets",
            "remove this line, and give the separator: dataset.separator=...",
        )
    if len(first) == 1 and others and (len(names or ()) != 1):
        other = max(others, key=first[0].count)
        raise DataError(
            f"the first row of {path} has no {NAMES.get(separator, repr(separator))} but "
            f"{NAMES[other]}: {first[0][:60]!r}",
            "give the separator: dataset.separator="
            + ("tab" if other == "\t" else f"'\"{other}\"'"),
        )
    if len(first) == 1 and len(fields) > 1 and np.median(fields[1:]) > 1:
        raise DataError(
            f"the first line of {path} is {first[0][:60]!r}, but the lines below have "
            f"{int(np.median(fields[1:]))} fields",
            "remove the lines above the header",
        )
    if names is not None:
        if first == names:
            raise DataError(
                f"header=false, but the first row of {path} is the columns' names",
                "leave out dataset.header and dataset.columns",
            )
        if len(first) != len(names):
            raise DataError(
                f"columns has {len(names)} names, but the first row of {path} has "
                f"{len(first)} fields",
                "name every column in order: dataset.columns=[...]",
            )
    twice = {name: count for name, count in Counter(names or first).items() if count > 1}
    if names is None and _is_data(first, bool(twice)):
        raise DataError(
            f"the first row of {path} looks like data, not like names: "
            f"{separator.join(first)[:60]!r}",
            f"name its {len(first)} columns: dataset.header=false dataset.columns=[...]",
        )
    for name, count in twice.items():
        if name == "":
            raise DataError(
                f"the header of {path} leaves {count} columns without a name",
                "give every column a name of its own in the header",
            )
        where = "columns has" if names is not None else f"the header of {path} has"
        raise DataError(f"{where} {name!r} {count} times", "give every column a name of its own")


def _is_data(first: tuple[str, ...], twice: bool) -> bool:
    """Whether a first row has only numbers, or some numbers and a field that occurs twice.

    The numbers 0, 1, 2, ... are names, with or without an empty name before them.
    """
    numbers = sum(1 for field in first if re.match(NUMBER, field))
    numbered = first[first[0] == "" :] == tuple(map(str, range(len(first) - (first[0] == ""))))
    if numbered or len(first) == 1:
        return False
    filled = sum(1 for field in first if field)
    return numbers > 0 and (numbers == filled or (twice and numbers >= len(first) / 4))
