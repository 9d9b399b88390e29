"""The schedule of a recorded run, built again from its recorded options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bsscale.config.files import typed
from bsscale.errors import BsscaleError
from bsscale.planning.scaling import scaled_context
from bsscale.report.comparison import ArmSummary
from bsscale.report.read import FoundRun
from bsscale.schedules import Schedule
from bsscale.schedules.options import SCHEDULES, ScheduleConfig, ScheduleContext
from bsscale.schedules.options.scaling import make_scaling

__all__ = ["corners", "longest_run", "schedule_of"]

# The recorded rates must be those of the schedule that was built, to this relative distance.
LAST_BITS = 1e-12
# The most updates that a line is computed at.
MOST_STEPS = 20_000


def longest_run(arm: ArmSummary) -> FoundRun:
    """The run of an arm that trained for longest: schedules do not depend on the seed."""
    return max(arm.runs, key=lambda run: run.record.samples_seen)


def schedule_of(run: FoundRun) -> Schedule | None:
    """The schedule that a run was trained with; None where the record does not determine it.

    Nothing of a record is imported or called: a schedule with a `_target_` is not built. The result
    has, at every evaluation, the learning rate that was recorded there.
    """
    record = run.record
    values = record.config.get("schedule")
    name = values.get("name") if isinstance(values, Mapping) else None
    if name not in SCHEDULES or _names_code(values) or record.base_lr is None:
        return None
    try:
        options = typed(SCHEDULES[name], _without_empty(values), "the record")
        rule = make_scaling(_without_empty(record.config.get("scaling", "none"))).build()
        context = ScheduleContext(
            base_lr=record.base_lr,
            gpus=record.gpus,
            global_batch=record.global_batch,
            samples_per_pass=record.samples_per_pass or 1,
            momentum=next((p.momentum for p in run.evals if p.momentum is not None), None),
        )
        made = _built(options, scaled_context(rule, context), record.samples_per_pass is not None)
    except (BsscaleError, ArithmeticError, TypeError, ValueError):
        return None
    return made if made is not None and _as_recorded(made, run) else None


def corners(schedule: Schedule, steps: int) -> list[int]:
    """The updates, below `steps`, that a polygon through the learning rates needs.

    Parameters
    ----------
    schedule
        Of the run.
    steps
        Its updates, 1 or more.
    """
    asked = np.unique(np.linspace(0, steps - 1, min(steps, MOST_STEPS)).astype(int))
    if len(asked) < 3:
        return [int(step) for step in asked]
    rates = schedule.lr(asked)
    slopes = np.diff(rates) / np.diff(asked)
    bends = np.abs(np.diff(slopes)) > 1e-9 * np.abs(rates).max()
    return [int(step) for step in asked[np.concatenate([[True], bends, [True]])]]


def _built(options: ScheduleConfig, context: ScheduleContext, known_pass: bool) -> Schedule | None:
    """The schedule; None where it depends on the length of a pass, which older records lack."""
    made = options.build(context)
    if known_pass:
        return made
    other = options.build(replace(context, samples_per_pass=1_000_003))
    return made if made == other else None


def _as_recorded(schedule: Schedule, run: FoundRun) -> bool:
    points = [(p.step, p.lr) for p in run.evals if p.step > 0 and p.lr is not None]
    return all(
        math.isclose(schedule.lr(step - 1), lr, rel_tol=LAST_BITS, abs_tol=0.0)
        for step, lr in points
    )


def _names_code(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(_names_code(each) for each in value.values())
    return isinstance(value, Sequence) and not isinstance(value, str) and any(
        _names_code(each) for each in value
    )  # fmt: skip


def _without_empty(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: _without_empty(each) for key, each in value.items() if each is not None}
