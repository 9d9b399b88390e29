"""Restores multirun.yaml of an earlier start if this start trains nothing."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

__all__ = ["SavedSweep"]


class SavedSweep:
    """The multirun.yaml in a sweep's directory before Hydra overwrites it.

    A report reads the command that made the records from it. Hydra writes it before any job is
    checked. There is one sweep in a process.
    """

    _before: ClassVar[tuple[Path, bytes] | None] = None

    @classmethod
    def remember(cls, sweep: Path) -> None:
        """Read the file; call this before Hydra writes it."""
        path = sweep / "multirun.yaml"
        cls._before = (path, path.read_bytes()) if path.is_file() else None

    @classmethod
    def restore(cls) -> None:
        """Write the old content back, because no job was started."""
        if cls._before is not None:
            path, content = cls._before
            path.write_bytes(content)
        cls.forget()

    @classmethod
    def forget(cls) -> None:
        """Keep the new file, because its jobs are started."""
        cls._before = None
