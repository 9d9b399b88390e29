"""What needs a CUDA device: the same numbers there as on the CPU, by the same engine."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bsscale.config import ExecutorConfig
from bsscale.data import load_dataset
from bsscale.engines.stacked import StackedEngine
from bsscale.optimizers import AdamConfig, OptimizerConfig, SGDConfig
from bsscale.plan import Devices, make_plan
from tests.helpers import MODELS, small_config

pytestmark = pytest.mark.gpu

WIDTH = 3
UPDATES = 100  # whole CUDA graphs, and some updates that fill none


def parameters(
    device: str, model: str, optimizer: OptimizerConfig, step: str
) -> list[list[torch.Tensor]]:
    config = small_config(
        model=MODELS[model],
        optimizer=optimizer,
        precision="fp64",
        base_lr=0.01,
        executor=ExecutorConfig("virtual", device),
    )
    dataset = load_dataset(config.dataset)
    plan = make_plan(config, dataset.train.samples_per_pass, Devices.here())
    plan = replace(plan, training_step=step)
    engine = StackedEngine(config, plan, dataset, WIDTH)
    for slot in range(WIDTH):
        engine.begin(slot, config, replace(plan, seed=slot))
    left = UPDATES
    while left:
        updates = min(left, engine.updates_at_once)
        engine.advance(updates)
        left -= updates
    return [
        [value.detach().cpu().clone() for value in engine.model(slot).parameters()]
        for slot in range(WIDTH)
    ]


@pytest.mark.parametrize("optimizer", [SGDConfig(), AdamConfig()], ids=["sgd", "adam"])
@pytest.mark.parametrize("step", ["layers", "compiled"])
@pytest.mark.parametrize("model", MODELS)
def test_a_stack_on_cuda_equals_the_cpu(model: str, step: str, optimizer: OptimizerConfig) -> None:
    on_cuda = parameters("cuda", model, optimizer, step)
    on_cpu = parameters("cpu", model, optimizer, "layers")
    for one, other in zip(on_cuda, on_cpu, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
