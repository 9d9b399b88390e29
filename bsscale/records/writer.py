"""A run's directory, written as the run happens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bsscale.errors import RecordsError
from bsscale.files.locks import hold
from bsscale.files.replace import remove_unfinished, replace_text
from bsscale.records.checkpoints import FOLDER, remove_checkpoints
from bsscale.records.directories import (
    busy_error,
    records_unwritable,
    refuse_occupied,
    unwritable_error,
)
from bsscale.records.evaluation import EvalPoint, encode
from bsscale.records.run_record import RunRecord, write_run

__all__ = ["Records", "clear_away"]

# Held by the process that writes a run.
LOCK = ".lock"


class Records:
    """evals.jsonl line by line, run.json at the end. An observer of the training loop.

    Parameters
    ----------
    directory
        Where to write; created if need be.
    kept
        The evaluations before the checkpoint from which the run continues. They replace those of an
        earlier start. None: the directory must not hold a run.

    Raises
    ------
    RecordsError
        If the directory already holds a run, another process is writing one there, or it cannot
        be written.
    """

    def __init__(self, directory: Path, kept: Sequence[EvalPoint] | None = None) -> None:
        self.directory = directory
        if kept is None:
            refuse_occupied(directory)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = hold(directory / LOCK, busy_error(directory))
            for each in (directory, directory / FOLDER):
                remove_unfinished(each)
            (directory / "run.json").unlink(missing_ok=True)
            replace_text(directory / "evals.jsonl", "".join(_line(point) for point in kept or ()))
            self._evals = (directory / "evals.jsonl").open("ab", buffering=0)
        except OSError as error:
            raise unwritable_error(directory, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close evals.jsonl."""
        self._evals.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
            (self.directory / LOCK).unlink(missing_ok=True)

    def on_step(self, step: int) -> None:
        """Nothing is written for an update."""

    def on_eval(self, point: EvalPoint) -> None:
        """Append one line, at once.

        Raises
        ------
        RecordsError
            If it cannot be written: a run without records is useless.
        """
        try:
            self._evals.write(_line(point).encode())
        except OSError as error:
            raise records_unwritable(self.directory, error) from error

    def rewind(self, kept: Sequence[EvalPoint]) -> None:
        """Go back to the evaluations of an earlier start that a script's checkpoint has kept.

        Raises
        ------
        RecordsError
            If they cannot be written.
        """
        path = self.directory / "evals.jsonl"
        try:
            replace_text(path, "".join(_line(point) for point in kept))
            self._evals.close()
            self._evals = path.open("ab", buffering=0)
        except OSError as error:
            raise records_unwritable(self.directory, error) from error

    def finish(self, record: RunRecord) -> None:
        """Write run.json, whole or not at all."""
        write_run(self.directory, record)


def clear_away(directory: Path) -> None:
    """Remove what a process has left that was killed after it had recorded the end of a run.

    Parameters
    ----------
    directory
        The run's. Where another process is still ending the run, nothing is done.
    """
    unfinished = list(directory.glob(".*.part"))
    if not (unfinished or (directory / LOCK).exists() or (directory / FOLDER).exists()):
        return
    try:
        lock = hold(directory / LOCK, busy_error(directory))
        remove_unfinished(directory)
        remove_checkpoints(directory)
        if lock is not None:
            lock.release()
        (directory / LOCK).unlink(missing_ok=True)
    except (OSError, RecordsError):  # busy, or the directory can only be read
        return


def _line(point: EvalPoint) -> str:
    return json.dumps(encode(point), allow_nan=False) + "\n"
