"""multirun.yaml of an earlier start, left as it is where nothing is started."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

__all__ = ["SavedSweep"]


class SavedSweep:
    """What a sweep's directory held before Hydra saved the configuration of this start over it.

    A report reads from it which command made the records. Hydra writes it before any job is
    checked; there is one sweep a process.
    """

    _before: ClassVar[tuple[Path, bytes] | None] = None

    @classmethod
    def remember(cls, sweep: Path) -> None:
        """Before Hydra writes."""
        path = sweep / "multirun.yaml"
        cls._before = (path, path.read_bytes()) if path.is_file() else None

    @classmethod
    def restore(cls) -> None:
        """Nothing was started."""
        if cls._before is not None:
            path, content = cls._before
            path.write_bytes(content)
        cls.forget()

    @classmethod
    def forget(cls) -> None:
        """Its jobs are started: the saved configuration is theirs."""
        cls._before = None
