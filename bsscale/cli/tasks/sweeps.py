"""The directories of a sweep."""

from __future__ import annotations

from pathlib import Path

__all__ = ["job_directories"]


def job_directories(sweep: Path) -> list[Path]:
    """The directories of a sweep's jobs, in order: 0, 1, ..., 9, 10."""
    return sorted(
        (path.parent for path in sweep.glob("*/.hydra")),
        key=lambda path: (len(path.name), path.name),
    )
