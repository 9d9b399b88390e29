"""Files that are replaced whole: at every moment the old one or the new one."""

from __future__ import annotations

import json
import math
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["plain", "remove_unfinished", "replace_text", "replaced", "start_file", "write_json"]

# Of a file that is being written; what a killed process left under such a name is no file yet.
_UNFINISHED = ".*.part"


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give the path of a new file, which replaces `path` atomically once it is written.

    The directory of `path` must exist.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_text(path: Path, text: str) -> None:
    """Replace `path` atomically by `text`; its directory must exist."""
    with replaced(path) as temporary, temporary.open("x", encoding="utf-8") as file:
        file.write(text)


def start_file(path: Path) -> int:
    """Create an empty file in place of an old one; return its mode, which follows the umask.

    For writers that create files with another mode: set this mode afterwards.
    """
    path.unlink(missing_ok=True)
    path.touch()
    return stat.S_IMODE(path.stat().st_mode)


def remove_unfinished(directory: Path) -> None:
    """Remove unfinished files of killed processes; no other process may write in `directory`."""
    for path in directory.glob(_UNFINISHED):
        path.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Replace `path` by `data` as JSON, atomically; non-finite numbers become null."""
    replace_text(path, json.dumps(plain(data), indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """`value` in JSON's types, with None for every non-finite number, as for censored ones."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
