"""Runs for the tests of engines, and what trains them: one by one by torch, or many at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bsscale.config import Config
from bsscale.data import Dataset, load_dataset
from bsscale.engines.eager import EagerEngine
from bsscale.engines.engine import Engine
from bsscale.engines.stacked import StackedEngine
from bsscale.optimizers import OPTIMIZERS as SHIPPED
from bsscale.optimizers import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    LambConfig,
    LarsConfig,
    OptimizerConfig,
    SGDConfig,
)
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.schedules.options import (
    CosineConfig,
    FixedConfig,
    LinearWarmupConfig,
    OneCycleConfig,
    OneCycleTorchConfig,
    WSDConfig,
)
from tests.helpers import SYNTHETIC, changed, prepare, small_config

Parameters = dict[str, Tensor]

UPDATES = 100
# One pass is 62 updates, so that every schedule turns within 100.
SHORT: dict[str, Any] = {**SYNTHETIC, "samples_per_pass": 2000}
LARGE: dict[str, Any] = {**SHORT, "categorical_fields": 3, "cardinality": 10_000}
OPTIMIZERS: dict[str, OptimizerConfig] = {
    "sgd": SGDConfig(momentum=0.0),
    "sgd decayed": SGDConfig(momentum=0.0, weight_decay=0.01),
    "momentum": SGDConfig(),
    "momentum decayed": SGDConfig(weight_decay=0.01),
    "nesterov": SGDConfig(nesterov=True),
    "nesterov decayed": SGDConfig(nesterov=True, weight_decay=0.01),
    "adam": AdamConfig(),
    "adam decayed": AdamConfig(weight_decay=0.01),
    "adamw": AdamWConfig(weight_decay=0.1),
    "adamw undecayed": AdamWConfig(weight_decay=0.0),
    "adagrad": AdagradConfig(),
    # With its ε of 1e-10 a gradient that is nothing but rounding, 1e-17, moves a parameter by 1e-9.
    "adagrad decayed": AdagradConfig(weight_decay=0.01, eps=1e-5),
    "lamb": LambConfig(),
    "lamb undecayed": LambConfig(weight_decay=0.0),
    "lars": LarsConfig(trust_coefficient=0.1),
    "lars nesterov": LarsConfig(trust_coefficient=0.1, nesterov=True, weight_decay=0.01),
    "lars without momentum": LarsConfig(trust_coefficient=0.1, momentum=0.0),
}
# Every optimizer that ships, with its default options.
DEFAULTS: dict[str, OptimizerConfig] = {name: optimizer() for name, optimizer in SHIPPED.items()}
# Every update rule in its fullest form; of the others, the models do not know.
KINDS = (
    "sgd decayed",
    "nesterov decayed",
    "adam decayed",
    "adamw",
    "adagrad decayed",
    "lamb",
    "lars nesterov",
)
SCHEDULES = (
    FixedConfig(),
    OneCycleConfig(),
    LinearWarmupConfig(warmup_fraction=0.5),
    CosineConfig(),
    WSDConfig(stable_fraction=0.2),
    OneCycleTorchConfig(),
)
MOMENTA = (0.9, 0.5, 0.95, 0.8, 0.85, 0.7)

# What torch says of its own parts while it compiles.
compiles = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def short_plan(**changes: Any) -> Plan:
    """The plan of a small run over passes of 2,000 samples; `changes` are of its configuration."""
    return make_plan(small_config(**{"dataset": SHORT, **changes}), 2000, Devices(cuda=0))


def six_runs(optimizer: OptimizerConfig, **changes: Any) -> tuple[list[Plan], Dataset]:
    """Runs that differ in all that runs of a stack may differ in."""
    # (At higher rates, products of features let rounding grow from update to update, or diverge.)
    lr = 0.002 if changes.get("model", {}).get("name") == "dcnv2" else 0.02
    plans = []
    for number, (schedule, momentum) in enumerate(zip(SCHEDULES, MOMENTA, strict=True)):
        key = optimizer.momentum_option
        own = {} if optimizer.momentum_now is None or key is None else {key: momentum}
        plans.append(
            short_plan(**{
                "seed": number, "schedule": schedule, "optimizer": replace(optimizer, **own),
                "base_lr": lr * (1 + number), "budget_samples": UPDATES * 32,
                "precision": "fp64", **changes,
            })
        )  # fmt: skip
    return plans, load_dataset(plans[0].config.dataset)


def parameters(engine: Engine, slot: int = 0) -> Parameters:
    return {name: value.detach().clone() for name, value in engine.model(slot).named_parameters()}


def advance(engine: Engine, updates: int) -> None:
    while updates:
        now = min(updates, engine.updates_at_once)
        engine.advance(now)
        updates -= now


def eager(plan: Plan, dataset: Dataset) -> EagerEngine:
    """A run at its beginning, by torch."""
    engine = EagerEngine(plan, dataset)
    engine.begin(0, plan)
    return engine


def by_torch(plan: Plan, dataset: Dataset, updates: int = UPDATES) -> Parameters:
    engine = eager(plan, dataset)
    advance(engine, updates)
    return parameters(engine)


def stacked(
    plans: Sequence[Plan], dataset: Dataset, step: str = "layers", width: int = 6
) -> StackedEngine:
    """The first `width` runs at their beginning, a slot each."""
    engine = StackedEngine(replace(plans[0], training_step=step), dataset, width)
    for slot, plan in enumerate(plans[:width]):
        engine.begin(slot, plan)
    return engine


def all_at_once(
    plans: Sequence[Plan], dataset: Dataset, step: str = "layers", updates: int = UPDATES
) -> list[Parameters]:
    engine = stacked(plans, dataset, step, len(plans))
    advance(engine, updates)
    return [parameters(engine, slot) for slot in range(len(plans))]


def with_refills(plans: Sequence[Plan], dataset: Dataset, step: str = "layers") -> list[Parameters]:
    """Six runs in four slots that start and end at different times, with empty slots between."""
    engine = stacked(plans[:2], dataset, step, 4)
    trained = {}
    advance(engine, 30)
    engine.begin(2, plans[2])
    engine.begin(3, plans[3])
    advance(engine, 70)
    for slot in (0, 1):
        trained[slot] = parameters(engine, slot)
        engine.end(slot)
        engine.begin(slot, plans[4 + slot])
    advance(engine, 30)
    for slot in (2, 3):
        trained[slot] = parameters(engine, slot)
        engine.end(slot)
    advance(engine, 70)
    return [*(trained[number] for number in range(4)), parameters(engine, 0), parameters(engine, 1)]


def relative_distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    assert a.keys() == b.keys()
    flat_a, flat_b = (
        torch.cat([x[n].detach().double().flatten() for n in sorted(a)]) for x in (a, b)
    )
    assert bool(torch.isfinite(flat_b).all())
    return float((flat_a - flat_b).norm() / flat_b.norm())


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def check_equal_forms(configs: Sequence[Config], free: Callable[[Plan], Plan]) -> None:
    """Assert that all train the same bits, torch's numbers, and others than `free` plans do."""
    trained = []
    for config in configs:
        plan, dataset = prepare(config)
        plans = [changed(plan, seed=seed) for seed in range(2)]
        trained.append(all_at_once(plans, dataset, updates=30))
    for others in trained[1:]:
        assert all(equal(*pair) for pair in zip(others, trained[0], strict=True))
    for plan, ours in zip(plans, trained[0], strict=True):
        assert relative_distance(ours, by_torch(plan, dataset, 30)) < 1e-10
        assert relative_distance(ours, by_torch(free(plan), dataset, 30)) > 1e-4


def update(after: Parameters, before: Parameters) -> Parameters:
    return {name: after[name] - before[name] for name in after}
