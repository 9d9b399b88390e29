"""Checkpoints: what a run needs to continue as if it had not been interrupted.

A checkpoint is one file of arrays and JSON (see `bsscale.files.checked`), in ``checkpoints/`` of
the run's directory. The last two are kept: if the newest is damaged, the run continues from the one
before.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsscale.errors import FormatVersionError, RecordsError
from bsscale.files.checked import Arrays, DamagedError, read_checked, write_checked
from bsscale.files.replace import plain, write_json
from bsscale.records.chain import now
from bsscale.records.evaluation import EvalPoint, encode, eval_point
from bsscale.records.schema import FORMAT_VERSION, read_object, version_of

__all__ = [
    "FOLDER",
    "Checkpoint",
    "Window",
    "newest_checkpoint",
    "read_began",
    "read_checkpoint",
    "read_plan",
    "remove_checkpoints",
    "write_checkpoint",
    "write_plan",
]

KEPT = 2
FOLDER = "checkpoints"
PLAN = "plan.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """What was measured for the gradient noise scale before an update.

    Attributes
    ----------
    step
        Number of the update, from 0.
    squared_norms
        For each group of parameters the squared norms of the gradients of a small batch, their
        mean, and of a large one.
    """

    step: int
    squared_norms: Mapping[str, tuple[float, float]]


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
    test_value
        The metric on the test split at a hit that is confirmed, or may be by the next evaluation.
    windows
        The measurements of the gradient noise scale so far.
    """

    step: int
    arrays: Arrays
    evals: tuple[EvalPoint, ...]
    wall_s: float
    eval_s: float
    training: Mapping[str, Any]
    test_value: float | None = None
    windows: tuple[Window, ...] = ()


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
        "test_value": checkpoint.test_value,
        "evals": [encode(point) for point in checkpoint.evals],
        "windows": [[window.step, window.squared_norms] for window in checkpoint.windows],
    }
    path = folder / f"step-{checkpoint.step:09d}.safetensors"
    write_checked(path, checkpoint.arrays, json.dumps(plain(described), allow_nan=False))
    # (Do not remove it because of a later checkpoint, left by an earlier start of a run that began
    # again.)
    for old in [each for each in _files(folder) if each.name <= path.name][KEPT:]:
        old.unlink(missing_ok=True)
    return path


def write_plan(directory: Path, training: Mapping[str, Any]) -> None:
    """Write checkpoints/plan.json: what the run in `directory` trains, and since when.

    Parameters
    ----------
    directory
        The run's.
    training
        What determines the training, as `Plan.training` describes it.
    """
    folder = directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    began = read_began(directory) or now()
    data = {"format_version": FORMAT_VERSION, "began": began, "training": training}
    write_json(folder / PLAN, data)


def read_began(directory: Path) -> str | None:
    """The time of the first start of the unfinished run in `directory`; None if not known."""
    try:
        began = read_object(directory / FOLDER / PLAN, "").get("began")
    except (OSError, RecordsError):
        return None
    return began if isinstance(began, str) else None


def read_plan(directory: Path) -> Mapping[str, Any] | None:
    """The training of an unfinished run in `directory`; None if it was not written.

    Raises
    ------
    RecordsError
        If it cannot be read, or is of another format version.
    """
    path = directory / FOLDER / PLAN
    try:
        data = read_object(path, "train in another directory (hydra.run.dir=PATH)")
    except FileNotFoundError:
        return None
    version_of(data, path)
    training = data.get("training")
    return training if isinstance(training, dict) else None


def newest_checkpoint(directory: Path) -> Path | None:
    """The newest checkpoint of the run in `directory` that is whole; each other is warned of."""
    for path in _files(directory / FOLDER):
        try:
            read_checkpoint(path)
        except FormatVersionError:
            raise
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
        if (version := described["format_version"]) != FORMAT_VERSION:
            raise FormatVersionError(
                f"the checkpoint {path} has format_version {version}, and this bsscale goes on "
                f"from {FORMAT_VERSION} only",
                "go on with the bsscale that wrote it, or train in another directory "
                "(hydra.run.dir=PATH)",
            )
        return Checkpoint(
            step=int(described["step"]),
            arrays=arrays,
            evals=tuple(eval_point(data) for data in described["evals"]),
            wall_s=float(described["wall_s"]),
            eval_s=float(described["eval_s"]),
            training=dict(described["training"]),
            test_value=described["test_value"],
            windows=tuple(_window(*each) for each in described.get("windows", ())),
        )
    except FileNotFoundError:
        raise RecordsError(f"there is no checkpoint {path}", "give the path of one") from None
    except FormatVersionError:
        raise
    except (
        AttributeError,
        DamagedError,
        KeyError,
        TypeError,
        ValueError,
        RecordsError,
    ) as error:
        raise RecordsError(
            f"the checkpoint {path} is damaged ({error})", "give another one, or start from scratch"
        ) from error


def remove_checkpoints(directory: Path) -> None:
    """Remove the checkpoints of a run that has ended: its weights and records are complete."""
    folder = directory / FOLDER
    with suppress(OSError):  # there is none, or something else is in it
        for path in [*_files(folder), *folder.glob(".*.part"), folder / PLAN]:
            path.unlink(missing_ok=True)
        folder.rmdir()


def _window(step: Any, squared_norms: Any) -> Window:
    norms = {
        str(name): (float(small), float(large)) for name, (small, large) in squared_norms.items()
    }
    return Window(int(step), norms)


def _files(folder: Path) -> list[Path]:
    """The checkpoints, the newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)
