"""The squared norms of coming gradients: equal in every engine, and no run is changed by them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bsscale.config import ExecutorOptions
from bsscale.critical_batch.noise_scale import moments
from bsscale.data import Dataset, Samples, Schema, load_dataset
from bsscale.engines.ddp import DDPEngine
from bsscale.engines.eager import EagerEngine
from bsscale.engines.engine import Engine
from bsscale.engines.stacked import StackedEngine
from bsscale.objectives.torch_form import losses_of
from bsscale.optimizers import AdagradConfig, AdamConfig, LambConfig, OptimizerConfig, SGDConfig
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.planning.world import World
from bsscale.training.loop import train
from bsscale.training.processes import launch
from tests.engines.jobs import Kept, assert_same, jobs, train_together
from tests.engines.runs import (
    LARGE,
    SHORT,
    advance,
    compiles,
    equal,
    parameters,
    short_plan,
    stacked,
)
from tests.helpers import MODELS, prepare, small_config
from tests.test_resume import NOISY

OPTIMIZERS: dict[str, OptimizerConfig] = {
    "sgd": SGDConfig(),
    "adam": AdamConfig(beta2=0.99),
    "lamb": LambConfig(),
    "adagrad": AdagradConfig(),
}
WARM_UP = 5


def by_hand(engine: Engine, plan: Plan, dataset: Dataset) -> dict[str, tuple[float, float]]:
    """The norms from one gradient after the other, and torch's own state of the optimizer."""
    assert isinstance(engine, EagerEngine)
    module, losses = engine.model(0), losses_of(plan.objective)
    named = dict(module.named_parameters())
    gradients: list[dict[str, torch.Tensor]] = []
    for index in range(8):
        start = WARM_UP * plan.global_batch + index * plan.config.micro_batch
        samples = dataset.train.read(plan.config.seed, start, start + plan.config.micro_batch)
        ids, numbers, label = (
            torch.from_numpy(each) for each in (samples.categorical, samples.numeric, samples.label)
        )
        loss = losses(module(ids, numbers.double()), label.double()).mean()
        found = torch.autograd.grad(loss, list(named.values()))
        gradients.append(dict(zip(named, found, strict=True)))
    norms: dict[str, tuple[float, float]] = {}
    optimizer = plan.config.optimizer
    for name, value in named.items():
        each = torch.stack([gradient[name] for gradient in gradients])
        if isinstance(optimizer, AdamConfig):
            square = engine.optimizer.state[value]["exp_avg_sq"] * optimizer.beta2
            square += (1 - optimizer.beta2) * each.square().mean(dim=0)
            divisor = (square / (1 - optimizer.beta2 ** (WARM_UP + 1))).sqrt() + optimizer.eps
            each /= divisor.sqrt()
        elif isinstance(optimizer, AdagradConfig):
            square = engine.optimizer.state[value]["sum"] + each.square().mean(dim=0)
            each /= (square.sqrt() + optimizer.eps).sqrt()
        group = "embeddings" if name.endswith("table.weight") else "dense"
        small, large = norms.get(group, (0.0, 0.0))
        norms[group] = (
            small + float(each.reshape(8, -1).square().sum(dim=1).mean()),
            large + float(each.mean(dim=0).square().sum()),
        )
    return norms


def assert_close(
    found: Mapping[str, Sequence[float]], expected: Mapping[str, Sequence[float]]
) -> None:
    assert found.keys() == expected.keys()
    for name, norms in found.items():
        assert norms == pytest.approx(expected[name], rel=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_layers_and_autograd_give_the_norms_of_a_plain_loop(model: str, optimizer: str) -> None:
    plan = short_plan(
        model=MODELS[model], optimizer=OPTIMIZERS[optimizer], precision="fp64", base_lr=0.01,
        budget_samples=10_000, gpus=2, dataset=LARGE if optimizer == "sgd" else SHORT,
    )  # fmt: skip
    dataset = load_dataset(plan.config.dataset)
    alone, together = EagerEngine(plan, dataset), stacked([plan, replace(plan)], dataset, width=2)
    alone.begin(0, plan)
    for engine in (alone, together):
        advance(engine, WARM_UP)
    expected = by_hand(alone, plan, dataset)
    before = parameters(together, 1)
    assert_close(alone.squared_norms(0), expected)
    assert_close(together.squared_norms(1), expected)
    assert equal(parameters(together, 1), before)


@pytest.mark.slow
@compiles
def test_a_compiled_step_gives_them_too() -> None:
    plan = short_plan(
        model=MODELS["deepfm"], optimizer=AdamConfig(), precision="fp64", base_lr=0.01,
        budget_samples=10_000,
    )  # fmt: skip
    dataset = load_dataset(plan.config.dataset)
    alone, compiled = EagerEngine(plan, dataset), stacked([plan], dataset, "compiled", 1)
    alone.begin(0, plan)
    for engine in (alone, compiled):
        advance(engine, WARM_UP)
    assert_close(compiled.squared_norms(0), alone.squared_norms(0))
    runs = [_trained("compiled", changes) for changes in ({}, {"noise_scale": True})]
    _assert_same_but_measured(*runs)


def _trained(kind: str, changes: Mapping[str, Any]) -> Kept:
    """A run of 400 micro-batches, by one of the engines."""
    config = small_config(**{
        "model": NOISY if kind == "eager" else MODELS["dlrm"], "optimizer": AdamConfig(),
        "base_lr": 0.01, "budget_samples": 400 * 32, "gpus": 1 if kind == "eager" else 2, **changes,
    })  # fmt: skip
    plan, dataset = prepare(config)
    job = Kept(plan)
    engine: Engine
    if kind == "eager":
        engine = EagerEngine(plan, dataset)
    else:
        engine = StackedEngine(replace(plan, training_step=kind), dataset, 1)
    train([[job]], engine, dataset.validation, dataset.test)
    return job


def _assert_same_but_measured(off: Kept, on: Kept) -> None:
    without = [{**point, "noise_scale": None} for point in on.seen]
    assert without == off.seen
    assert equal(on.parameters, off.parameters)
    assert off.outcome is not None and on.outcome is not None
    assert off.outcome.noise == {}
    assert on.outcome.noise["noise_scale_windows"] == 2
    assert on.outcome.noise["noise_scale_note"].startswith("only 2 windows")
    assert [asdict(on.outcome)[k] for k in ("best_value", "test_value", "steps")] == [
        asdict(off.outcome)[k] for k in ("best_value", "test_value", "steps")
    ]
    assert sum(point["noise_scale"] is not None for point in on.seen) >= 1


@pytest.mark.parametrize("kind", ["layers", "eager"])
def test_a_run_is_the_same_to_the_bit_with_and_without(kind: str) -> None:
    # (the eager one has dropout and batch normalization)
    off, on = (_trained(kind, {"noise_scale": measured}) for measured in (False, True))
    _assert_same_but_measured(off, on)


def test_neighbours_do_not_change_what_is_measured() -> None:
    def make() -> list[Kept]:
        return jobs(3, noise_scale=True, budget_samples=6400, eval_interval_samples=2048)

    together, alone = make(), make()[1]
    train_together([[job] for job in together])
    train_together([[alone]])
    assert_same(together[1], alone)
    assert together[1].outcome is not None and alone.outcome is not None
    assert together[1].outcome.noise == alone.outcome.noise
    assert alone.outcome.noise["noise_scale_windows"] == 1


def linear_data(deviation: float) -> Dataset:
    """A linear regression: standard normal features, y = x₁ + noise."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> Samples:
        x = rng.standard_normal((n, 3)).astype(np.float32)
        y = x[:, 0] + deviation * rng.standard_normal(n).astype(np.float32)
        return Samples(np.zeros((n, 0), np.int32), x, y.astype(np.float32))

    schema = Schema((), (), ("a", "b", "c"))
    return Dataset.from_arrays(schema, draw(200_000), draw(500), draw(500))


def test_a_gradient_whose_covariance_is_known() -> None:
    # At weights of zero the gradient of one sample is −2 y (x, 1). With y = w·x + s e this gives
    # |G|² = 4 |w|² and tr Σ = 4 (|w|² (d + 2) + s² (d + 1)), for d = 3 and |w| = 1.
    deviation = 3.0
    truth = 3 + 2 + 4 * deviation**2
    dataset = linear_data(deviation)
    objective = {"name": "regression", "_target_": "bsscale.objectives.Regression", "metrics": {}}
    config = small_config(
        objective=objective, optimizer=SGDConfig(momentum=0.0), base_lr=1e-12, micro_batch=4,
        gpus=8, budget_samples=40_000, eval_interval_samples=10_000, noise_scale=True,
    )  # fmt: skip
    plan = make_plan(config, 200_000, Devices(cuda=0))
    assert len(plan.noise_scale_steps) == 50
    job = Kept(plan)
    train([[job]], StackedEngine(plan, dataset, 1), dataset.validation, dataset.test)
    assert job.outcome is not None
    noise = job.outcome.noise
    low, high = noise["noise_scale_interval"]
    assert low < truth < high
    assert noise["noise_scale"] == pytest.approx(truth, rel=0.3)
    assert noise["noise_scale_groups"] == {"dense": noise["noise_scale"]}
    assert noise["noise_scale_note"] is None
    assert high / low < 3


def _rank(world: World, job: tuple[Plan, str]) -> None:
    plan, folder = job
    dataset = load_dataset(plan.config.dataset)
    measured, left_alone = (DDPEngine(plan, dataset, world.rank) for _ in range(2))
    result: dict[str, torch.Tensor] = {}
    for name, engine in (("on", measured), ("off", left_alone)):
        engine.begin(0, plan)
        advance(engine, WARM_UP)
        if name == "on":
            norms = engine.squared_norms(0)
            result |= {f"norms {key}": torch.tensor(both) for key, both in norms.items()}
        advance(engine, WARM_UP)
        result |= {f"{name} {key}": value for key, value in parameters(engine).items()}
        engine.close()
    save_file(result, str(Path(folder, f"{world.rank}.safetensors")))


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_micro_batches(ranks: int, tmp_path: Path) -> None:
    config = small_config(
        model=MODELS["dlrm"], optimizer=AdamConfig(), base_lr=0.01, gpus=ranks, precision="fp64",
        executor=ExecutorOptions("ddp", "cpu"),
    )  # fmt: skip
    plan, dataset = prepare(config)
    launch(_rank, (plan, str(tmp_path)), plan)
    found = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(ranks)]
    for each in found:
        on, off = (
            {key.partition(" ")[2]: v for key, v in each.items() if key.startswith(f"{name} ")}
            for name in ("on", "off")
        )
        assert equal(on, off)
    alone, _ = prepare(replace(config, executor=ExecutorOptions("virtual", "cpu")))
    engine = EagerEngine(alone, dataset)
    engine.begin(0, alone)
    advance(engine, WARM_UP)
    for name, norms in engine.squared_norms(0).items():
        for each in found:
            assert each[f"norms {name}"].tolist() == pytest.approx(norms, rel=1e-6)
            assert all(math.isfinite(norm) and norm > 0 for norm in norms)
            assert moments(*norms, 32, 256).trace > 0
