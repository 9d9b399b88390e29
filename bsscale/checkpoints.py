"""Checkpoints: all that a run needs to go on as if nothing had interrupted it.

A checkpoint is one file of arrays and JSON (see `checked_file`), in ``checkpoints/`` of the run's
directory. The last two are kept: if the newest is damaged, the run goes on from the one before.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bsscale.checked_file import Arrays, DamagedError, read_checked, write_checked
from bsscale.errors import RecordsError
from bsscale.records import EvalPoint, eval_point, plain

__all__ = [
    "Checkpoint",
    "newest_checkpoint",
    "read_checkpoint",
    "remove_checkpoints",
    "write_checkpoint",
]

FORMAT_VERSION = 1
KEPT = 2
FOLDER = "checkpoints"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A run after some of its updates.

    Attributes
    ----------
    step
        Updates made. Schedule and sample order follow from it: both are functions of the step.
    arrays
        What the engine holds: weights, optimizer state, random states, the training loss since the
        last evaluation.
    evals
        The evaluations so far.
    wall_s, eval_s
        Seconds of training so far, and of them of evaluations.
    training
        What determines the training, as `Plan.training` describes it.
    """

    step: int
    arrays: Arrays
    evals: tuple[EvalPoint, ...]
    wall_s: float
    eval_s: float
    training: Mapping[str, Any]


def write_checkpoint(directory: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint of the run in `directory`, and remove all but the last two.

    Raises
    ------
    OSError
        If it cannot be written; those before it stay.
    """
    folder = directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "format_version": FORMAT_VERSION,
        "step": checkpoint.step,
        "wall_s": checkpoint.wall_s,
        "eval_s": checkpoint.eval_s,
        "training": checkpoint.training,
        "evals": [asdict(point) for point in checkpoint.evals],
    }
    path = folder / f"step-{checkpoint.step:09d}.safetensors"
    write_checked(path, checkpoint.arrays, json.dumps(plain(described), allow_nan=False))
    for old in _files(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def newest_checkpoint(directory: Path) -> Path | None:
    """The newest checkpoint of the run in `directory` that is whole; each other is warned of."""
    for path in _files(directory / FOLDER):
        try:
            read_checkpoint(path)
        except RecordsError as error:
            log.warning("warning: left out: %s", error.fact)
        else:
            return path
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, every byte of it checked. Nothing in it is executed or imported.

    Raises
    ------
    RecordsError
        If there is none, or it is damaged.
    """
    try:
        arrays, text = read_checked(path)
        described = json.loads(text)
        if described["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version {described['format_version']}, not {FORMAT_VERSION}")
        return Checkpoint(
            step=int(described["step"]),
            arrays=arrays,
            evals=tuple(eval_point(data) for data in described["evals"]),
            wall_s=float(described["wall_s"]),
            eval_s=float(described["eval_s"]),
            training=dict(described["training"]),
        )
    except FileNotFoundError:
        raise RecordsError(f"there is no checkpoint {path}", "give the path of one") from None
    except (DamagedError, KeyError, TypeError, ValueError) as error:
        raise RecordsError(
            f"the checkpoint {path} is damaged ({error})", "give another one, or start from scratch"
        ) from error


def remove_checkpoints(directory: Path) -> None:
    """Remove the checkpoints of a run that has ended: its weights and records say it all."""
    folder = directory / FOLDER
    for path in [*_files(folder), *folder.glob(".*.part")]:
        path.unlink(missing_ok=True)
    with suppress(OSError):  # there is none, or something else is in it
        folder.rmdir()


def _files(folder: Path) -> list[Path]:
    """The checkpoints, the newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)
