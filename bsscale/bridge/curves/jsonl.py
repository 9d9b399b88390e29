"""JSONL files of curves: an object on each line, a line for each evaluation."""

from __future__ import annotations

import json
from pathlib import Path

from bsscale.bridge.curves.rows import Rows
from bsscale.errors import RecordsError

__all__ = ["read_jsonl"]

_REMEDY = 'write one object on each line: {"arm": "fixed", "seed": 0, "samples": 51200, "auc": 0.7}'


def read_jsonl(path: Path) -> Rows:
    """The keys of the objects as columns; a key that a line does not have is a missing value.

    Raises
    ------
    RecordsError
        If it cannot be read, or a line is no object.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordsError(f"cannot read {path}: {error}", "give a text file in UTF-8") from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            # (json takes NaN and Infinity, which Python itself writes.)
            row = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError) as error:
            raise RecordsError(f"line {number} of {path} is not JSON: {error}", _REMEDY) from error
        if not isinstance(row, dict):
            raise RecordsError(f"line {number} of {path} is not an object", _REMEDY)
        found.append(row)
    if not any(found):
        raise RecordsError(f"{path} is empty", "give a file with evaluations")
    names = dict.fromkeys(name for row in found for name in row)
    columns = {name: [row.get(name) for row in found] for name in names}
    return Rows(path, "JSONL", columns, row_word="line")
