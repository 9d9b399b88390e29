"""The SHA-256 of the sources of data sets; large ones are only read again after a change."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from bsscale.files.replace import write_json

__all__ = ["source_digest"]

# A smaller file is always read.
LARGE_BYTES = 1 << 26
# A file that was changed so shortly before may be changed again without another time.
_SETTLED_NS = 2_000_000_000


def source_digest(source: Path, memory: Path) -> bytes:
    """The SHA-256 of a file.

    Parameters
    ----------
    source
        The file.
    memory
        A folder, in which the hash of a large file is kept with its size, times and inode.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    before = _state(source)
    if before[0] < LARGE_BYTES:
        return _read(source)
    name = hashlib.sha256(str(source.absolute()).encode()).hexdigest()[:32]
    note = memory / f"source-{name}.json"
    try:
        kept = json.loads(note.read_bytes())
        if kept["state"] == before:
            return bytes.fromhex(kept["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # (it is written anew)
    began = time.time_ns()
    digest = _read(source)
    if _state(source) == before and began - max(before[1:3]) > _SETTLED_NS:
        try:
            memory.mkdir(parents=True, exist_ok=True)
            write_json(note, {"state": before, "sha256": digest.hex()})
        except OSError:
            pass  # (the next start reads the file again)
    return digest


def _state(source: Path) -> list[int]:
    """What changes with a file: its size, the times of its content and its inode, and the inode."""
    found = source.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _read(source: Path) -> bytes:
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
