"""What the updates of many runs read beside their samples: rates, computed in advance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bsscale.engines.stacked.updates import Updates
from bsscale.optimizers.optimizer import Floats
from bsscale.planning.plan import Plan

__all__ = ["coefficients"]


def coefficients(
    rule: Updates,
    runs: Mapping[int, tuple[Plan, int]],
    width: int,
    updates: int,
    averaged: bool = False,
) -> Floats:
    """The update rule's coefficients for the next updates, and the weights of averages.

    Parameters
    ----------
    rule
        The rule.
    runs
        For each slot in use, the run's plan and the number of its next update.
    width, updates
        How many slots and updates.
    averaged
        Whether the runs average their weights (`Plan.average`).

    Returns
    -------
    Shape (updates, groups x coefficients, width), with one more for the averages; zeros for empty
    slots.
    """
    # Of at least two updates: NumPy squares a single number otherwise than each of several.
    computed = max(updates, 2)
    shape = (len(rule.optimizers), computed, width)
    lr, momentum = np.zeros(shape), np.zeros(shape)
    weight = np.zeros((computed, 1, width))
    step = np.zeros(shape[1:], dtype=np.int64)
    for slot, (plan, first) in runs.items():
        steps = np.arange(first, first + computed)
        rate, moved = plan.schedule.lr(steps), plan.schedule.momentum(steps)
        step[:, slot] = steps
        if plan.average is not None:
            weight[:, 0, slot] = [plan.average.weight(k, plan.global_batch) for k in steps.tolist()]
        for index, group in enumerate(plan.groups):
            configured = group.optimizer.momentum_now or 0.0
            constant = group.constant_lr
            lr[index, :, slot] = rate * group.lr_ratio if constant is None else constant
            momentum[index, :, slot] = configured if moved is None else moved
    values = rule.coefficients(lr, momentum, step)
    if averaged:
        values = np.concatenate([values, weight], axis=1)
    values[:, :, [slot for slot in range(width) if slot not in runs]] = 0.0
    return values[:updates]
