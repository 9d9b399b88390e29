"""What becomes of one run of a stack is nothing to the others."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from bsscale.engines.stacked.updates import Updates
from bsscale.optimizers import OptimizerConfig, SGDConfig
from bsscale.planning.stacks import split
from tests.engines.jobs import ODD, Kept, assert_same, jobs, train_together
from tests.engines.runs import DEFAULTS, OPTIMIZERS, advance, parameters, six_runs, stacked
from tests.helpers import MODELS

RULES: dict[str, OptimizerConfig] = {"no momentum": SGDConfig(momentum=0.0), **DEFAULTS}


@cache
def usual_jobs(optimizer: str, width: int, interval: int) -> list[Kept]:
    made = jobs(width + 2, optimizer=RULES[optimizer], eval_interval_samples=interval)
    train_together(split(made, width))
    return made


# (an interval that is no whole number of updates: evaluations fall out of step once a slot is
# refilled)
@pytest.mark.parametrize("status", ODD)
@pytest.mark.parametrize(
    ("optimizer", "width", "interval"),
    [
        pytest.param(name, width, interval, marks=[] if quick else pytest.mark.slow)
        for name in DEFAULTS
        for width in (2, 3, 4)
        for interval in (512, 500)
        for quick in [
            (name, interval) == ("sgd", 500) or (name, width) in (("adam", 3), ("lamb", 3))
        ]
    ],
)
def test_what_becomes_of_one_run_is_nothing_to_the_others(
    optimizer: str, width: int, interval: int, status: str
) -> None:
    usual = usual_jobs(optimizer, width, interval)
    unusual = jobs(
        width + 2, ODD[status], optimizer=RULES[optimizer], eval_interval_samples=interval
    )
    train_together(split(unusual, width))
    outcome = unusual[1].outcome
    assert outcome is not None and outcome.status == status
    assert outcome.steps < usual[1].plan.steps
    for number in range(width + 2):
        if number != 1:
            assert_same(unusual[number], usual[number])
            losses = [point.metrics["log_loss"] for point in usual[number].points]
            assert all(loss is not None and math.isfinite(loss) for loss in losses)


@pytest.mark.parametrize("before", [{}, {"base_lr": 1e30}], ids=["trained", "diverged"])
@pytest.mark.parametrize("optimizer", RULES)
def test_a_run_does_not_depend_on_what_was_in_its_slot(
    optimizer: str, before: dict[str, Any]
) -> None:
    """What is left of a sweep that was stopped trains as it would have."""
    changes: dict[str, Any] = {"optimizer": RULES[optimizer]}
    whole, rest = jobs(6, before, **changes), jobs(6, **changes)
    train_together(split(whole, 2))
    train_together([rest[2::2], rest[5::2]])
    for number in (2, 4, 5):
        assert_same(rest[number], whole[number])


@pytest.mark.parametrize("optimizer", ["sgd", "lamb"])
def test_a_slot_that_never_has_a_run_is_nothing_to_the_others(optimizer: str) -> None:
    filled, empty = (jobs(3, optimizer=RULES[optimizer]) for _ in range(2))
    train_together([[job] for job in filled])
    train_together([[empty[0]], [], [empty[2]]])
    for number in (0, 2):
        assert_same(empty[number], filled[number])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_empty_slot_stays_empty(optimizer: str) -> None:
    plans, dataset = six_runs(OPTIMIZERS[optimizer], model=MODELS["mlp"], precision="fp32")
    engine = stacked(plans, dataset, width=3)
    advance(engine, 10)
    engine.end(1)
    advance(engine, 10)
    for slot in range(3):
        for value in parameters(engine, slot).values():
            assert bool(torch.isfinite(value).all())
            assert slot != 1 or not value.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_update_without_rates_leaves_everything_as_it_is(
    optimizer: str, dtype: torch.dtype
) -> None:
    """With parameters and gradients, or zeros in place of either."""
    rule = OPTIMIZERS[optimizer]
    torch.manual_seed(0)
    parameter, gradient = (torch.randn(4, 50, dtype=dtype) for _ in range(2))
    parameter[1::2] = gradient[2:] = 0.0
    before = parameter.clone()
    zeros = np.zeros((1, 4))
    [c] = 0.0 * rule.coefficients(zeros, zeros, zeros.astype(np.int64))
    updates = Updates([rule], [parameter], [0], {}, clipped=False)
    for _ in range(3):
        updates.open(torch.tensor(c, dtype=dtype))
        updates.gradients[0].add_(gradient)
        updates.apply(torch.tensor(c, dtype=dtype), {})
        assert torch.equal(parameter, before)
