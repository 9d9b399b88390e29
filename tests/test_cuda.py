"""What needs a CUDA device: the same numbers there as on the CPU, by the same engine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bsscale.config import ExecutorOptions
from bsscale.data import load_dataset
from bsscale.engines.eager import EagerEngine
from bsscale.engines.stacked import StackedEngine
from bsscale.objectives.binary import roc_auc
from bsscale.optimizers import AdamConfig, LambConfig, OptimizerConfig, SGDConfig
from bsscale.optimizers.optimizer import SPARSE_ROWS
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.records.run_record import read_run
from tests.conftest import SMALL, Finished
from tests.engines.runs import advance
from tests.helpers import MODELS, SYNTHETIC, changed, small_config
from tests.test_faults import has_checkpoint, start, wait_for
from tests.test_resume import assert_same

pytestmark = pytest.mark.gpu

WIDTH = 3
UPDATES = 100  # whole CUDA graphs, and some updates that fill none


def parameters(
    device: str, model: str, optimizer: OptimizerConfig, step: str, **changes: Any
) -> list[list[torch.Tensor]]:
    config = small_config(
        model=MODELS[model],
        optimizer=optimizer,
        precision="fp64",
        base_lr=0.01,
        executor=ExecutorOptions("virtual", device),
        **changes,
    )
    dataset = load_dataset(config.dataset)
    plan = make_plan(config, dataset.train.samples_per_pass, Devices.here())
    plan = replace(plan, training_step=step)
    engine = StackedEngine(plan, dataset, WIDTH)
    for slot in range(WIDTH):
        engine.begin(slot, changed(plan, seed=slot))
    advance(engine, UPDATES)
    return [
        [value.detach().cpu().clone() for value in engine.model(slot).parameters()]
        for slot in range(WIDTH)
    ]


@pytest.mark.parametrize(
    "optimizer", [SGDConfig(), AdamConfig(), LambConfig()], ids=["sgd", "adam", "lamb"]
)
@pytest.mark.parametrize("step", ["layers", "compiled"])
@pytest.mark.parametrize("model", MODELS)
def test_a_stack_on_cuda_equals_the_cpu(model: str, step: str, optimizer: OptimizerConfig) -> None:
    on_cuda = parameters("cuda", model, optimizer, step)
    on_cpu = parameters("cpu", model, optimizer, "layers")
    for one, other in zip(on_cuda, on_cpu, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("cardinality", [50, SPARSE_ROWS], ids=["small", "large tables"])
@pytest.mark.parametrize("step", ["layers", "compiled"])
def test_clipping_on_cuda_equals_the_cpu(step: str, cardinality: int) -> None:
    changes = {
        "clip_grad_norm": 0.15,
        "dataset": {**SYNTHETIC, "categorical_fields": 2, "cardinality": cardinality},
    }
    on_cuda = parameters("cuda", "mlp", SGDConfig(), step, **changes)
    on_cpu = parameters("cpu", "mlp", SGDConfig(), "layers", **changes)
    for one, other in zip(on_cuda, on_cpu, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_bf16_trains_on_cuda() -> None:
    config = small_config(
        model=MODELS["mlp"], precision="bf16", executor=ExecutorOptions("virtual", "cuda")
    )
    dataset = load_dataset(config.dataset)
    plan = make_plan(config, dataset.train.samples_per_pass, Devices.here())
    engine = EagerEngine(plan, dataset)
    engine.begin(0, plan)
    engine.advance(UPDATES)
    assert {value.dtype for value in engine.model(0).parameters()} == {torch.float32}
    assert roc_auc(dataset.validation.label, engine.score(dataset.validation)[0]) > 0.6


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_one_nccl_rank_trains_and_goes_on_from_its_checkpoint(
    precision: str, tmp_path: Path, bsscale: Callable[..., Finished]
) -> None:
    small = [argument for argument in SMALL if not argument.startswith("budget")]
    command = [
        *small, "executor=ddp", "gpus=2", f"precision={precision}", "budget_passes=20",
        "checkpoint_interval_samples=10000",
    ]  # fmt: skip
    done = bsscale(*command, "hydra.run.dir=run")
    assert done.code == 0, done.text
    record = read_run(tmp_path / "run")
    assert record.executor == "ddp" and record.config["precision"] == precision

    (tmp_path / "killed").mkdir()
    with start(tmp_path / "killed", *command) as process:
        wait_for(process, lambda: has_checkpoint(tmp_path / "killed"))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    again = bsscale(*command, "hydra.run.dir=run", cwd=tmp_path / "killed")
    assert again.code == 0 and "going on after" in again.out, again.text
    assert_same(tmp_path / "run", tmp_path / "killed" / "run")
