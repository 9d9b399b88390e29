"""One evaluation of a run: a line of evals.jsonl."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bsscale.errors import RecordsError
from bsscale.records.schema import typed
from bsscale.records.version_1 import evaluation_of_version_1

__all__ = ["EvalPoint", "encode", "eval_point", "read_evals"]

_REMEDY = "leave this run out"


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that every line has."""

    step: int
    samples: int
    train_loss: float | None
    lr: float | None
    momentum: float | None
    wall_s: float | None
    auc: float | None = None
    log_loss: float | None = None
    noise_scale: float | None = None


# Not metrics.
_APART = {"step", "samples", "train_loss", "lr", "momentum", "wall_s", "noise_scale"}


@dataclass(frozen=True)
class EvalPoint:
    """An evaluation on the validation split.

    Attributes
    ----------
    step, samples
        Updates done, and the samples they saw.
    metrics
        Every metric of the objective, by its name; None where it is not defined.
    train_loss
        Mean since the last evaluation; None at step 0.
    lr, momentum
        Of the last update; None at step 0, or if there is none.
    wall_s
        Seconds since training began.
    noise_scale
        The gradient noise scale of the last windows, in samples, where one was measured since the
        last evaluation; None elsewhere, and where they do not tell the gradient from its noise.
    """

    step: int
    samples: int
    metrics: Mapping[str, float | None]
    train_loss: float | None
    lr: float | None
    momentum: float | None
    wall_s: float | None
    noise_scale: float | None = None


def encode(point: EvalPoint) -> dict[str, Any]:
    """The point as its JSON object, non-finite numbers as None."""
    metrics = {name: _finite(value) for name, value in point.metrics.items()}
    return {
        "step": point.step,
        "samples": point.samples,
        **metrics,
        "train_loss": _finite(point.train_loss),
        "lr": point.lr,
        "momentum": point.momentum,
        "wall_s": point.wall_s,
        **({} if point.noise_scale is None else {"noise_scale": point.noise_scale}),
    }


def eval_point(data: Any, where: object = "the evaluation") -> EvalPoint:
    """An evaluation, from its JSON object.

    Raises
    ------
    RecordsError
        If it is not an evaluation; the error names the field.
    """
    line = typed(data, _Line, where, _REMEDY)
    others = {name: value for name, value in data.items() if name not in _APART}
    metrics = {name: value for name, value in others.items() if _number_or_none(value)}
    return EvalPoint(
        step=line.step,
        samples=line.samples,
        metrics=metrics,
        train_loss=line.train_loss,
        lr=line.lr,
        momentum=line.momentum,
        wall_s=line.wall_s,
        noise_scale=line.noise_scale,
    )


def read_evals(directory: Path) -> list[EvalPoint]:
    """Read evals.jsonl; a last line that was cut off while being written is left out.

    Raises
    ------
    RecordsError
        If it cannot be read, or a line is no evaluation.
    """
    path = directory / "evals.jsonl"
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise RecordsError(f"{path} cannot be read: {error}", _REMEDY) from error
    points: list[EvalPoint] = []
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            break
        where = f"line {number} of {path}"
        try:
            data = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            raise RecordsError(f"{where} is not an evaluation: {error}", _REMEDY) from error
        point = eval_point(evaluation_of_version_1(data), where)
        if points and point.samples <= points[-1].samples:
            raise RecordsError(
                f"{where}: {point.samples} samples follow {points[-1].samples}", _REMEDY
            )
        points.append(point)
    return points


def _number_or_none(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
