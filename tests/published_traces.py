"""Traces of published optimizers, from golden/regenerate_*.py, and the same updates by ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bsscale.engines.stacked.updates import Updates
from bsscale.optimizers import OptimizerConfig

Values = NDArray[np.float64]
# Of each update the rate, and the momentum.
Rates = tuple[Values, Values]


class Traces:
    """The traces in a file of the folder golden."""

    def __init__(self, file: str) -> None:
        with np.load(Path(__file__).parent / "golden" / file, allow_pickle=False) as traces:
            self.arrays: dict[str, Any] = {name: traces[name] for name in traces.files}
        self.cases: list[dict[str, Any]] = json.loads(str(self.arrays["cases"]))
        self.names = [
            (number, name.removeprefix(f"trace {number} "))
            for number in range(len(self.cases))
            for name in self.arrays
            if name.startswith(f"trace {number} ")
        ]

    def check(self, number: int, name: str, trained: Callable[[Values, Values], Values]) -> None:
        """Assert that each update is the published one.

        Parameters
        ----------
        number, name
            Of `names`.
        trained
            From start and gradients to the values after each update.
        """
        expected = self.arrays[f"trace {number} {name}"]
        found = trained(self.arrays[f"start {name}"], self.arrays[f"gradients {name}"])
        distance = np.abs(found - expected).reshape(len(expected), -1).max(axis=1)
        size = np.abs(expected).reshape(len(expected), -1).max(axis=1)
        assert (distance <= 1e-13 * size).all()


def by_torch(config: OptimizerConfig, rates: Rates, start: Values, gradients: Values) -> Values:
    """By the optimizer's torch form."""
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = config.torch_optimizer([parameter])
    [group] = optimizer.param_groups
    trace = []
    for lr, momentum, gradient in zip(*rates, gradients, strict=True):
        group["lr"] = float(lr)
        if "betas" in group:
            group["betas"] = (float(momentum), group["betas"][1])
        else:
            group["momentum"] = float(momentum)
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        trace.append(parameter.detach().numpy().copy())
    return np.stack(trace)


def stacked(config: OptimizerConfig, rates: Rates, start: Values, gradients: Values) -> Values:
    """By the middle slot of a stack; its neighbours have other parameters, gradients and rates."""
    factors = torch.tensor([[-3.0], [1.0], [0.5]], dtype=torch.float64)
    parameters = factors * torch.tensor(start).flatten()
    updates = Updates([config], [parameters], [0], {}, clipped=False)
    lr, momentum = rates
    numbers = np.arange(len(lr))
    coefficients = updates.coefficients(
        np.stack([2 * lr, lr, 0 * lr], axis=1)[np.newaxis],
        np.stack([momentum / 2, momentum, 0 * momentum], axis=1)[np.newaxis],
        np.stack([numbers + 7, numbers, 0 * numbers], axis=1),
    )
    trace = []
    for c, gradient in zip(torch.tensor(coefficients), gradients, strict=True):
        updates.open(c)
        updates.gradients[0].add_(factors.flip(0) * torch.tensor(gradient).flatten())
        updates.apply(c, {})
        trace.append(parameters[1].numpy().reshape(start.shape).copy())
    return np.stack(trace)


FORMS = [by_torch, stacked]
