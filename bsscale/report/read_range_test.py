"""The result of task=range_test, as a report shows it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bsscale.errors import RecordsError
from bsscale.objectives import Criterion
from bsscale.records.evaluation import EvalPoint, read_evals
from bsscale.report.sources import FoundRangeTest, Sources

__all__ = ["add_range_test"]


def add_range_test(directory: Path, found: Sources) -> None:
    """Add the range test of a directory, or note why it cannot be read."""
    path = directory / "range_test.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        found.leave_out(directory, f"{path} cannot be read: {error}")
        return
    if not isinstance(data, Mapping):
        found.leave_out(directory, f"{path} is not a range test")
        return
    curves: dict[str, Sequence[EvalPoint]] = {}
    for run in sorted(directory.glob("seed-*"), key=lambda run: (len(run.name), run.name)):
        try:
            curves[run.name.removeprefix("seed-")] = read_evals(run)
        except RecordsError as error:
            found.leave_out(run, f"its curve only: {error.fact}")
    readings = {}
    for name, values in _mapping(data.get("spread")).items():
        three = _numbers_of(_mapping(values), ("lowest", "median", "highest"))
        if len(three) == 3:
            readings[str(name)] = (three["lowest"], three["median"], three["highest"])
    marks = _numbers_of(_mapping(data.get("suggestion")), ("cycle_min_lr", "cycle_max_lr"))
    if "edge" in readings:
        marks["lowest edge"] = readings["edge"][0]
    reason, loss = data.get("reason"), data.get("loss")
    found.range_tests.append(
        FoundRangeTest(
            directory,
            reason if isinstance(reason, str) else "",
            marks,
            readings,
            curves,
            _criterion(data),
            loss if isinstance(loss, str) else "log_loss",
            gpus if isinstance(gpus := _mapping(data.get("training")).get("gpus"), int) else None,
        )
    )


def _criterion(data: Mapping[str, Any]) -> Criterion:
    """The metric of a range test; if it is not recorded, the AUC, once the only metric."""
    name = data.get("metric")
    if not isinstance(name, str):
        return Criterion("auc", "max")
    return Criterion(name, "min" if data.get("direction") == "min" else "max")


def _number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _numbers_of(data: Mapping[Any, Any], names: Sequence[str]) -> dict[str, float]:
    """Those of the named values that are finite numbers."""
    found = {name: _number(data.get(name)) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}
