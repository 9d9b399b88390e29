"""Errors about the directory of a run."""

from __future__ import annotations

from pathlib import Path

from bsscale.errors import RecordsError

__all__ = [
    "busy_error",
    "holds_records",
    "records_unwritable",
    "refuse_occupied",
    "unwritable_error",
]


def holds_records(directory: Path) -> bool:
    """Whether a run, or a range test, has recorded anything in `directory`."""
    names = ("run.json", "evals.jsonl", "range_test.json")
    return any((directory / name).exists() for name in names)


def refuse_occupied(directory: Path) -> None:
    """Raise RecordsError if `directory` already holds a run: nothing is overwritten."""
    for name in ("run.json", "evals.jsonl"):
        if (directory / name).exists():
            raise RecordsError(
                f"{directory} already holds a run ({name} exists)",
                "give another directory (hydra.run.dir=PATH), or move the old one away",
            )


def busy_error(directory: Path) -> RecordsError:
    """The error for a directory that another process is writing to."""
    return RecordsError(
        f"another process is writing a run to {directory}",
        "let it end, or give another directory (hydra.run.dir=PATH)",
    )


def unwritable_error(directory: Path, error: OSError) -> RecordsError:
    """The error for an output directory that cannot be written."""
    return RecordsError(
        f"the output directory {directory} cannot be written: {error.strerror or error}",
        "give a directory that can (hydra.run.dir=PATH, or hydra.sweep.dir=PATH with -m)",
    )


def records_unwritable(directory: Path, error: Exception) -> RecordsError:
    """The error for records that can no longer be written."""
    reason = getattr(error, "strerror", None) or error
    return RecordsError(
        f"the records in {directory} can no longer be written: {reason}",
        f"make room; the same command with hydra.run.dir={directory} goes on from the last "
        "checkpoint",
    )
