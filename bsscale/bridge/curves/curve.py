"""Trajectories: the evaluations of each run, from the rows of a source."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from bsscale.bridge.curves.rows import OneRun, Rows, label
from bsscale.bridge.curves.wanted import Wanted
from bsscale.errors import RecordsError
from bsscale.records.evaluation import EvalPoint

__all__ = ["SETTINGS", "Curve", "curves_of"]

# Of a row: its arm, and its seed (a number), its run (a text), or None if an arm is one run.
_Run: TypeAlias = tuple[str, int | str | None]

# Numbers of each evaluation that are read if a source has them.
_MEASURED = ("train_loss", "lr", "momentum", "wall_s")
SETTINGS = ("gpus", "micro_batch", "global_batch")
"""Whole numbers of a run that are read if a source has them."""
_MORE_THAN_ONE_RUN = (
    "one row for each evaluation of a run: add a column seed, or run if seeds are not known, or "
    "name it by task.columns.seed=NAME"
)


@dataclass(frozen=True)
class Curve:
    """The evaluations of one run.

    Attributes
    ----------
    path, format
        Where it was read.
    arm, seed
        Its arm, and its random seed if it is known.
    points
        In the order of their samples, each with a value of the metric; None where it was not
        finite.
    settings
        The known counts of `SETTINGS`.
    """

    path: Path
    format: str
    arm: str
    seed: int | None
    points: tuple[EvalPoint, ...]
    settings: Mapping[str, int]


def curves_of(rows: Rows, wanted: Wanted) -> list[Curve]:
    """The curves of a source, in the order in which they begin there.

    A row without a value of the metric is no evaluation. One whose value is NaN or infinite is an
    evaluation that misses every target.

    Raises
    ------
    RecordsError
        If a column is missing, a value is none that it may have, an evaluation is there twice, or
        the samples of a log go back.
    """
    values = rows.column(wanted.metric_name, "task.columns.metric")
    measured = [
        (index, number)
        for index, value in enumerate(values)
        if (number := rows.number(value, index, wanted.metric_name)) is not None
    ]
    if not measured:
        raise RecordsError(
            f"{rows.path} ({rows.format}) has no value of {wanted.metric_name}",
            "leave it out, or name the metric: task.columns.metric=NAME",
        )
    runs = _runs(rows, [index for index, _ in measured], wanted)
    counted = _samples(rows, measured, runs, wanted)
    groups: dict[_Run, list[tuple[int, int, float]]] = defaultdict(list)
    for (index, value), run, samples in zip(measured, runs, counted, strict=True):
        groups[run].append((samples, index, value))
    return [_curve(rows, run, points, wanted) for run, points in groups.items()]


def _runs(rows: Rows, indices: Sequence[int], wanted: Wanted) -> list[_Run]:
    """The run of each row."""
    if rows.run is not None:
        return [(label(rows.run.arm), rows.run.seed)] * len(indices)
    arms = rows.column(wanted.names.arm, "task.columns.arm")
    seeds, of_seeds = rows.columns.get(wanted.names.seed), True
    if seeds is None and wanted.names.seed != "seed":
        rows.column(wanted.names.seed, "task.columns.seed")  # (it was named, and is not there)
    if seeds is None:
        seeds, of_seeds = rows.columns.get("run"), False
    found: list[_Run] = []
    for index in indices:
        arm = label(arms[index])
        if not arm:
            raise RecordsError(f"{rows.where(index)} has no {wanted.names.arm}", "name its arm")
        if seeds is None:
            found.append((arm, None))
        elif of_seeds:
            remedy = "give a whole number, or call the column run if it is a name"
            found.append((arm, rows.count(seeds[index], index, wanted.names.seed, remedy)))
        elif seeds[index] in (None, ""):
            raise RecordsError(f"{rows.where(index)} has no run", "name the run of each row")
        else:
            found.append((arm, str(seeds[index])))
    return found


def _samples(
    rows: Rows,
    measured: Sequence[tuple[int, float]],
    runs: Sequence[_Run],
    wanted: Wanted,
) -> list[int]:
    """The training samples of each evaluation."""
    name, batches = wanted.samples_name, None
    by_default = wanted.names.samples is None and wanted.samples_per_step is None
    in_steps = rows.run is None and {"step", "global_batch"} <= rows.columns.keys()
    if by_default and in_steps and name not in rows.columns:
        name, batches = "step", rows.columns["global_batch"]
    column = rows.column(name, "task.columns.samples")
    remedy = (
        f"give the training samples as a whole number; if {name} counts steps or passes, say how "
        "many samples one is: task.samples_per_step=N"
    )
    found = []
    for (index, _), run in zip(measured, runs, strict=True):
        value = column[index]
        if batches is not None:
            batch = rows.count(batches[index], index, "global_batch", "give the samples of a step")
            found.append(batch * rows.count(value, index, name, "give the number of updates"))
        elif wanted.samples_per_step is None:
            found.append(rows.count(value, index, name, remedy))
        else:
            number = rows.number(value, index, name)
            if number is None or not math.isfinite(number) or number < 0:
                raise RecordsError(f"{name} is {value} in {rows.where(index)}", remedy)
            found.append(round(number * wanted.samples_per_unit(run[0])))
    return found


def _curve(rows: Rows, run: _Run, points: list[tuple[int, int, float]], wanted: Wanted) -> Curve:
    one = rows.run or _of_table(rows, run, [index for _, index, _ in points])
    if rows.run is None:
        points = sorted(points)  # (the order of the rows of a table means nothing)
    for (before, first, _), (after, index, _) in itertools.pairwise(points):
        if before == after and rows.run is None:
            raise RecordsError(
                f"the arm {one.arm!r} has two values of {wanted.metric_name} after {after:,} "
                f"samples in one run: {rows.where(first)}, and {index + rows.numbered_from}",
                _MORE_THAN_ONE_RUN,
            )
        if after <= before:
            raise RecordsError(
                f"{after:,} samples follow {before:,} in {rows.where(index)}",
                "a run that was started again repeats evaluations: leave out those that it repeats",
            )
    made = tuple(
        EvalPoint(
            step=_step(rows, index),
            samples=samples,
            metrics={wanted.criterion.name: value if math.isfinite(value) else None},
            **{name: _finite(rows, name, index) for name in _MEASURED},
        )
        for samples, index, value in points
    )
    return Curve(rows.path, rows.format, run[0], one.seed, made, one.settings)


def _of_table(rows: Rows, run: _Run, indices: Sequence[int]) -> OneRun:
    settings = {}
    for name in SETTINGS:
        column = rows.columns.get(name, ())
        counts = {
            rows.count(column[index], index, name, "give a whole number")
            for index in (indices if column else ())
            if column[index] not in (None, "")
        }
        # (A batch that grows during the training is no setting of the run.)
        if len(counts) == 1:
            settings[name] = counts.pop()
    arm, seed = run
    return OneRun(arm, seed if isinstance(seed, int) else None, settings)


def _step(rows: Rows, index: int) -> int:
    """The number of the update, 0 where it is not known: no part of a report needs it."""
    step = _finite(rows, "step", index)
    return 0 if step is None else round(step)


def _finite(rows: Rows, name: str, index: int) -> float | None:
    column = rows.columns.get(name)
    value = None if column is None else rows.number(column[index], index, name)
    return value if value is not None and math.isfinite(value) else None
