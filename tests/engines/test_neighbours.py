"""What becomes of one run of a stack is nothing to the others."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest

from bsscale.planning.stacks import split
from tests.engines.jobs import ODD, Kept, assert_same, jobs, train_together
from tests.engines.runs import OPTIMIZERS


@cache
def usual_jobs(optimizer: str, width: int, interval: int) -> list[Kept]:
    made = jobs(width + 2, optimizer=OPTIMIZERS[optimizer], eval_interval_samples=interval)
    train_together(split(made, width))
    return made


# (an interval that is no whole number of updates: evaluations fall out of step once a slot is
# refilled)
@pytest.mark.parametrize("status", ODD)
@pytest.mark.parametrize(
    ("optimizer", "width", "interval"),
    [
        pytest.param(name, width, interval, marks=[] if quick else pytest.mark.slow)
        for name in ("momentum", "adam", "adagrad")
        for width in (2, 3, 4)
        for interval in (512, 500)
        for quick in [(name, interval) == ("momentum", 500) or (name, width) == ("adam", 3)]
    ],
)
def test_what_becomes_of_one_run_is_nothing_to_the_others(
    optimizer: str, width: int, interval: int, status: str
) -> None:
    usual = usual_jobs(optimizer, width, interval)
    unusual = jobs(
        width + 2, ODD[status], optimizer=OPTIMIZERS[optimizer], eval_interval_samples=interval
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
@pytest.mark.parametrize("optimizer", ["momentum", "sgd", "adam", "adagrad"])
def test_a_run_does_not_depend_on_what_was_in_its_slot(
    optimizer: str, before: dict[str, Any]
) -> None:
    """What is left of a sweep that was stopped trains as it would have."""
    changes = {"optimizer": OPTIMIZERS[optimizer]}
    whole, rest = jobs(6, before, **changes), jobs(6, **changes)
    train_together(split(whole, 2))
    train_together([rest[2::2], rest[5::2]])
    for number in (2, 4, 5):
        assert_same(rest[number], whole[number])


def test_a_slot_that_never_has_a_run_is_nothing_to_the_others() -> None:
    filled, empty = jobs(3), jobs(3)
    train_together([[job] for job in filled])
    train_together([[empty[0]], [], [empty[2]]])
    for number in (0, 2):
        assert_same(empty[number], filled[number])
