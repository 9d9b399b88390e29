"""The run, the model and the rates that the tests of all libraries share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bsscale.bridge import Run, join

BATCH, STEPS = 8, 60
KEYWORDS: dict[str, Any] = {
    "micro_batch": BATCH,
    "budget_samples": BATCH * STEPS,
    "base_lr": 0.05,
    "momentum": 0.9,
    "metric": "mse",
    "schedule": {
        "name": "onecycle",
        "cycle_max_lr": 0.4,
        "cycle_min_lr": 0.05,
        "cycle_first_step_size": 17,
        "cycle_second_step_size": 13,
        "cycle_first_stair_count": 5,
        "decay_step_size": 7,
        "decay_lr_rate": 0.3,
    },
}
PEAK = 0.4


def a_run(directory: Path) -> Run:
    return join(**KEYWORDS, directory=directory)


def rows() -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(0)
    inputs = torch.randn(BATCH * STEPS, 3, generator=chance)
    return inputs, inputs.sum(1, keepdim=True)


def a_model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def an_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=9.0, momentum=0.1)


def used(optimizer: torch.optim.Optimizer) -> tuple[float, float]:
    """The rate and the momentum that the next update uses."""
    group = optimizer.param_groups[0]
    return float(group["lr"]), float(group["momentum"])


def assert_follows(run: Run, seen: list[tuple[float, float]], first: int = 0) -> None:
    """Assert that the updates from `first` on had the schedule's rate and momentum."""
    assert len(seen) > 10
    for step, (lr, momentum) in enumerate(seen, start=first):
        assert abs(lr - run.schedule.lr(step)) <= 1e-12 * PEAK, step
        assert abs(momentum - run.schedule.momentum(step)) <= 1e-12, step
