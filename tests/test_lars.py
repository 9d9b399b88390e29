"""LARS, against what timm's and pytorch_optimizer's do: golden/regenerate_lars.py says how."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bsscale.engines.stacked.updates import Updates
from bsscale.errors import ConfigError
from bsscale.optimizers import LarsConfig

TRACES = Path(__file__).parent / "golden" / "lars_traces.npz"

Values = NDArray[np.float64]


@functools.cache
def recorded() -> dict[str, Any]:
    with np.load(TRACES, allow_pickle=False) as traces:
        return {name: traces[name] for name in traces.files}


CASES: list[dict[str, Any]] = json.loads(str(recorded()["cases"]))
TRACED = [
    (number, name.removeprefix(f"trace {number} "))
    for number in range(len(CASES))
    for name in recorded()
    if name.startswith(f"trace {number} ")
]


def rates(case: dict[str, Any]) -> tuple[Values, Values]:
    lr = recorded()["lr"]
    constant = np.full_like(lr, case.get("momentum", 0.9))
    return lr, recorded()["momentum"] if case.get("momentum_moves") else constant


def config_of(case: dict[str, Any]) -> LarsConfig:
    return LarsConfig(
        trust_coefficient=case["trust"], eps=case["eps"], weight_decay=case["weight_decay"],
        nesterov=case.get("nesterov", False), momentum=case.get("momentum", 0.9),
    )  # fmt: skip


def by_torch(case: dict[str, Any], start: Values, gradients: Values) -> Values:
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = config_of(case).torch_optimizer([parameter])
    trace = []
    for lr, momentum, gradient in zip(*rates(case), gradients, strict=True):
        optimizer.param_groups[0].update(lr=float(lr), momentum=float(momentum))
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        trace.append(parameter.detach().numpy().copy())
    return np.stack(trace)


def stacked(case: dict[str, Any], start: Values, gradients: Values) -> Values:
    """The middle slot's; its neighbours have other parameters, gradients and rates."""
    factors = torch.tensor([[-3.0], [1.0], [0.5]], dtype=torch.float64)
    parameters = factors * torch.tensor(start).flatten()
    updates = Updates([config_of(case)], [parameters], [0], {}, clipped=False)
    lr, momentum = rates(case)
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


@pytest.mark.parametrize("form", [by_torch, stacked])
@pytest.mark.parametrize(("number", "name"), TRACED)
def test_every_update_is_that_of_the_published_implementation(
    form: Any, number: int, name: str
) -> None:
    expected = recorded()[f"trace {number} {name}"]
    start, gradients = recorded()[f"start {name}"], recorded()[f"gradients {name}"]
    found = form(CASES[number], start, gradients)
    distance = np.abs(found - expected).reshape(len(expected), -1).max(axis=1)
    size = np.abs(expected).reshape(len(expected), -1).max(axis=1)
    assert (distance <= 1e-13 * size).all()


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"trust_coefficient": 0.0}, "optimizer.trust_coefficient=0.0 is not a positive number"),
        ({"trust_coefficient": np.inf}, "optimizer.trust_coefficient=inf is not"),
        ({"eps": -1e-8}, "optimizer.eps=-1e-08 is not a number of 0 or more"),
        ({"nesterov": True, "momentum": 0.0}, "optimizer.nesterov=true with optimizer.momentum=0"),
        ({"sparse": True}, "optimizer.sparse=true with optimizer=lars"),
    ],
)
def test_what_is_refused(options: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError) as error:
        LarsConfig(**options).check()
    assert error.value.fact.startswith(fact) and error.value.remedy
