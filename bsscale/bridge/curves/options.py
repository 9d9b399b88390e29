"""The options of imported curves, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bsscale.bridge.curves.places import check_layout
from bsscale.bridge.curves.wanted import Names, Wanted
from bsscale.errors import ConfigError
from bsscale.objectives import Binary, Criterion, Regression

__all__ = ["wanted_of"]


def wanted_of(
    metric: str,
    direction: str | None,
    target: float | None,
    names: Names,
    samples_per_step: Any,
    layout: str | None,
) -> Wanted:
    """How curves are read and judged, from the options of task=report.

    Raises
    ------
    ConfigError
        For a value that an option cannot have.
    """
    if target is not None and not math.isfinite(target):
        raise ConfigError(f"task.target={target} is no number", "give the value to reach")
    if layout is not None:
        check_layout(layout)
    return Wanted(
        _criterion(metric, direction), target, names, _samples_per_step(samples_per_step), layout
    )


def _criterion(metric: str, direction: str | None) -> Criterion:
    if not metric.strip():
        raise ConfigError("task.metric is empty", "give the name of a metric: task.metric=log_loss")
    known = {
        each.name: each.direction
        for objective in (Binary(), Regression())
        for each in objective.metrics.values()
    }
    own = known.get(metric)
    if direction is None and own is not None:
        return Criterion(metric, own)
    if direction not in ("max", "min"):
        given = f"task.direction={direction}"
        fact = (
            f"{given} is neither max nor min"
            if direction
            else f"task.direction of {metric} is missing"
        )
        raise ConfigError(
            fact,
            "give task.direction=max if higher values are better, task.direction=min if lower ones "
            "are",
        )
    if own is not None and own != direction:
        better = "higher" if own == "max" else "lower"
        raise ConfigError(
            f"task.direction={direction} for {metric}, of which {better} values are better",
            f"leave it out, or give your metric another name: task.metric=NAME "
            f"task.columns.metric={metric}",
        )
    return Criterion(metric, "max" if direction == "max" else "min")


def _samples_per_step(value: Any) -> float | dict[str, float] | None:
    if value is None:
        return None
    if isinstance(value, Mapping) and value:
        return {str(arm): _number(each, value) for arm, each in value.items()}
    return _number(value, value)


def _number(value: Any, whole: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(
            f"task.samples_per_step={whole} is no number above 0",
            "give the samples of a step, such as 1024, or those of each arm: "
            "'task.samples_per_step={small:128,large:1024}'",
        )
    return float(value)
