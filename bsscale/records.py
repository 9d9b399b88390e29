"""What a run writes, and reads back: evals.jsonl as it happens, run.json at the end."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from bsscale.errors import RecordsError
from bsscale.locks import hold

__all__ = [
    "FORMAT_VERSION",
    "EvalPoint",
    "Records",
    "RunRecord",
    "eval_point",
    "plain",
    "read_evals",
    "read_run",
    "write_json",
]

FORMAT_VERSION = 1
# Held by the process that writes a run.
LOCK = ".lock"


@dataclass(frozen=True)
class EvalPoint:
    """One line of evals.jsonl.

    Attributes
    ----------
    step, samples
        Updates done, and the samples they saw.
    auc, loss
        On the validation split; None or NaN where not defined.
    train_loss
        Mean since the last evaluation; None at step 0.
    lr, momentum
        Of the last update; None at step 0, and where there is none.
    wall_s
        Seconds since training began.
    """

    step: int
    samples: int
    auc: float | None
    loss: float
    train_loss: float | None
    lr: float | None
    momentum: float | None
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """run.json: one finished run. The field names are the format.

    Censored numbers are None, never a stand-in. `samples_to_target_interval` is the last miss
    and the first confirmed hit, in samples; `samples_to_target` interpolates the AUC between.
    """

    format_version: int = FORMAT_VERSION
    status: str
    reason: str
    arm: str
    arm_hash: str
    study: str | None
    target: float | None
    samples_to_target_interval: tuple[int, int] | None
    samples_to_target: float | None
    best_auc: float | None
    final_auc: float | None
    test_auc: float | None
    best_possible_auc: float | None
    samples_seen: int
    budget_samples: int
    eval_interval_samples: int
    steps: int
    gpus: int
    micro_batch: int
    grad_accum: int
    global_batch: int
    schedule: str
    optimizer: str
    model: str
    dataset: str
    executor: str
    seed: int
    base_lr: float
    samples_per_s: float | None
    eval_share: float | None
    wall_s: float
    environment: Mapping[str, Any]
    config: Mapping[str, Any]


class Records:
    """A run's directory, written as the run happens. An observer of the training loop.

    Parameters
    ----------
    directory
        Where to write; created if need be.
    kept
        What an earlier start of the run has left there is replaced by these evaluations: those
        before the checkpoint that it goes on from. None: the directory must be free.

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
            self._lock = hold(directory / LOCK, _busy(directory))
            (directory / "run.json").unlink(missing_ok=True)
            _replace(directory / "evals.jsonl", "".join(_line(point) for point in kept or ()))
            self._evals = (directory / "evals.jsonl").open("ab", buffering=0)
        except OSError as error:
            raise unwritable(directory, error) from error

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
            If it cannot be written: records are the point of a run.
        """
        try:
            self._evals.write(_line(point).encode())
        except OSError as error:
            raise cannot_go_on(self.directory, error) from error

    def finish(self, record: RunRecord) -> None:
        """Write run.json, whole or not at all."""
        write_run(self.directory, record)


def write_run(directory: Path, record: RunRecord) -> None:
    """Write run.json of a finished run, whole or not at all."""
    write_json(directory / "run.json", asdict(record))


def refuse_occupied(directory: Path) -> None:
    """Raise RecordsError if `directory` already holds a run: nothing is overwritten."""
    for name in ("run.json", "evals.jsonl"):
        if (directory / name).exists():
            raise RecordsError(
                f"{directory} already holds a run ({name} exists)",
                "give another directory (hydra.run.dir=PATH), or move the old one away",
            )


def _busy(directory: Path) -> RecordsError:
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


def read_run(directory: Path) -> RunRecord:
    """Read run.json of a finished run.

    Raises
    ------
    RecordsError
        If there is none, or it is of another format.
    """
    path = directory / "run.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordsError(f"{directory} holds no run.json", "the run has not ended") from None
    except (OSError, ValueError) as error:
        raise RecordsError(f"{path} cannot be read: {error}", "leave this run out") from error
    version = data.get("format_version") if isinstance(data, dict) else None
    if version != FORMAT_VERSION:
        raise RecordsError(
            f"{path} has format_version {version}, and this bsscale reads {FORMAT_VERSION}",
            "read it with the bsscale that wrote it",
        )
    names = {field.name for field in fields(RunRecord)}
    if missing := sorted(names - data.keys()):
        raise RecordsError(f"{path} lacks {', '.join(missing)}", "leave this run out")
    interval = data["samples_to_target_interval"]
    data["samples_to_target_interval"] = None if interval is None else tuple(interval)
    return RunRecord(**{name: data[name] for name in names})


def read_evals(directory: Path) -> list[EvalPoint]:
    """Read evals.jsonl; a last line that was cut off while being written is left out."""
    path = directory / "evals.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, ValueError) as error:  # (bytes that are no text)
        raise RecordsError(f"{path} cannot be read: {error}", "leave this run out") from error
    points = []
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            break
        try:
            points.append(eval_point(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise RecordsError(
                f"line {number} of {path} is not an evaluation: {error}", "leave this run out"
            ) from error
    return points


def eval_point(data: Mapping[str, Any]) -> EvalPoint:
    """An evaluation, from its JSON object; raises KeyError or TypeError if it is none."""
    return EvalPoint(**{**data, "loss": math.nan if data["loss"] is None else data["loss"]})


def write_json(path: Path, data: Any) -> None:
    """Replace `path` by `data` as JSON, atomically; non-finite numbers become null."""
    _replace(path, json.dumps(plain(data), indent=2, allow_nan=False) + "\n")


def _line(point: EvalPoint) -> str:
    return json.dumps(plain(asdict(point)), allow_nan=False) + "\n"


def _replace(path: Path, text: str) -> None:
    """Replace `path` atomically."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def plain(value: Any) -> Any:
    """`value` as JSON spells it: with every non-finite number as None, as censored ones are."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
