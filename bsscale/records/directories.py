"""What can be wrong with the directory of a run, as errors."""

from __future__ import annotations

import re
from pathlib import Path

from bsscale.errors import BsscaleError, RecordsError

__all__ = [
    "busy",
    "cannot_go_on",
    "holds_records",
    "of_study",
    "refuse_occupied",
    "unwritable",
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


def busy(directory: Path) -> RecordsError:
    """The error for a directory that another process is writing to."""
    return RecordsError(
        f"another process is writing a run to {directory}",
        "let it end, or give another directory (hydra.run.dir=PATH)",
    )


def unwritable(directory: Path, error: OSError) -> RecordsError:
    """The error for an output directory that cannot be written."""
    return RecordsError(
        f"the output directory {directory} cannot be written: {error.strerror or error}",
        "give a directory that can (hydra.run.dir=PATH, or hydra.sweep.dir=PATH with -m)",
    )


def cannot_go_on(directory: Path, error: Exception) -> RecordsError:
    """The error for records that can no longer be written."""
    reason = getattr(error, "strerror", None) or error
    return RecordsError(
        f"the records in {directory} can no longer be written: {reason}",
        f"make room; the same command with hydra.run.dir={directory} goes on from the last "
        "checkpoint",
    )


def of_study(error: BsscaleError) -> BsscaleError:
    """The error of a run within a study, whose remedy names the options of the study."""
    error.remedy = re.sub(r" with hydra\.run\.dir=\S+ goes on", " goes on", error.remedy)
    error.remedy = re.sub(
        r"hydra\.run\.dir=PATH(, or hydra\.sweep\.dir=PATH with -m)?",
        "task.directory=PATH",
        error.remedy,
    )
    return error
