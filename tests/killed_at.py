"""``python -m tests.killed_at ...``: bsscale, killed by itself at a file operation that is named.

``KILL_AT=N`` kills it with signal 9 right before its N-th operation on a file in the working
directory; a temporary file that has been written, but not yet renamed, is cut in half first, as if
the signal had come while it was written. ``OPERATIONS=PATH`` lists the operations in a file.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.symlink")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

_here = Path.cwd()
_kill_at = int(os.environ.pop("KILL_AT", "0"))
_listed = os.environ.pop("OPERATIONS", None)
_listing = os.open(_listed, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if _listed else None
_count = 0


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    global _count
    if event != "open" and event not in _CHANGES:
        return
    named = arguments[1 if event == "os.symlink" else 0]
    path = _here / (os.fsdecode(named) if isinstance(named, str | bytes) else "")
    unfinished = path.suffix == ".part"
    if event == "open" and not (unfinished or arguments[2] & _WRITES):
        return
    if _here not in path.parents:
        return
    _count += 1
    if _listing is not None:
        os.write(_listing, f"{event} {path.relative_to(_here)}\n".encode())
    if _count == _kill_at:
        if unfinished and event in ("os.chmod", "open") and path.exists():
            os.truncate(path, path.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.addaudithook(_watch)
    runpy.run_module("bsscale", run_name="__main__", alter_sys=True)
