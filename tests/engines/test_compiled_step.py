"""A compiled step is torch's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bsscale.optimizers import OptimizerConfig, SGDConfig
from tests.engines.modules import Tied, custom
from tests.engines.runs import (
    KINDS,
    OPTIMIZERS,
    SHORT,
    all_at_once,
    by_torch,
    compiles,
    relative_distance,
    six_runs,
    update,
    with_refills,
)
from tests.helpers import MODELS


def check_compiled(model: Mapping[str, Any], optimizer: OptimizerConfig) -> None:
    plans, dataset = six_runs(optimizer, model=model)
    refilled = with_refills(plans, dataset, "compiled")
    for plan, trained in zip(plans, refilled, strict=True):
        assert relative_distance(trained, by_torch(plan, dataset)) < 1e-10


@compiles
def test_a_compiled_step_is_torchs() -> None:
    check_compiled(MODELS["mlp"], OPTIMIZERS["momentum"])


# Compiling takes long, and the passes of a model do not know the update: every kind of update with
# one model, and three kinds with the others.
THREE = ("nesterov decayed", "adam decayed", "lamb")
PAIRS = [
    *(("mlp", kind) for kind in KINDS),
    *((model, kind) for model in MODELS if model != "mlp" for kind in THREE),
]


@compiles
@pytest.mark.slow
@pytest.mark.parametrize(("model", "optimizer"), PAIRS)
def test_a_compiled_step_of_every_model_and_optimizer_is_torchs(model: str, optimizer: str) -> None:
    check_compiled(MODELS[model], OPTIMIZERS[optimizer])


@compiles
@pytest.mark.slow
def test_compiled_runs_at_once_are_what_each_is_alone() -> None:
    plans, dataset = six_runs(OPTIMIZERS["adam"], model=MODELS["mlp"])
    together = all_at_once(plans, dataset, "compiled")
    [alone] = all_at_once(plans[4:5], dataset, "compiled")
    assert relative_distance(together[4], alone) < 1e-10


@compiles
@pytest.mark.slow
def test_one_float32_update_of_a_compiled_step_is_torchs() -> None:
    plans, dataset = six_runs(SGDConfig(), model=MODELS["mlp"], precision="fp32")
    together = all_at_once(plans, dataset, "compiled", updates=1)
    for plan, trained in zip(plans, together, strict=True):
        before, after = (by_torch(plan, dataset, updates) for updates in (0, 1))
        assert relative_distance(update(trained, before), update(after, before)) < 1e-5


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("fields", [{}, {"numeric_fields": 0}])
def test_a_compiled_custom_model_is_torchs(fields: dict[str, int]) -> None:
    """A tied parameter is one; a parameter without elements is no obstacle."""
    model = MODELS["logistic"] if fields else custom(Tied)
    plans, dataset = six_runs(SGDConfig(), model=model, dataset={**SHORT, **fields})
    together = all_at_once(plans, dataset, "compiled")
    for plan, trained in zip(plans, together, strict=True):
        assert relative_distance(trained, by_torch(plan, dataset)) < 1e-10
