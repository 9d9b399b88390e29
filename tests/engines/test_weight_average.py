"""The average of the weights: torch's own, in every engine; it changes no weight."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bsscale.data import Dataset
from bsscale.engines.eager import EagerEngine
from bsscale.engines.engine import Engine
from bsscale.engines.stacked import StackedEngine
from bsscale.errors import ConfigError
from bsscale.models import build_model
from bsscale.optimizers import AdamConfig, LambConfig, SGDConfig
from bsscale.optimizers.averaging import WeightAverage
from bsscale.planning.description import describe_plan
from bsscale.planning.plan import Plan
from bsscale.planning.stacks import make_stacks
from bsscale.records.checkpoints import Checkpoint
from bsscale.records.identity import arm_hash
from bsscale.schedules.options import OneCycleConfig
from bsscale.study.options import RangeTestOptions
from bsscale.study.range_test import plan_range_test
from tests.engines.modules import WithBatchNorm, custom
from tests.engines.ranks import ddp, virtual
from tests.engines.runs import (
    LARGE,
    SHORT,
    Parameters,
    advance,
    all_at_once,
    by_torch,
    compiles,
    eager,
    equal,
    parameters,
    relative_distance,
    short_plan,
    six_runs,
    stacked,
)
from tests.helpers import MODELS, changed, prepare, small_config
from tests.test_resume import assert_same, carried_out, interrupted
from tests.test_resume import terminated as terminated  # (SIGTERM ends this process as bsscale)

HALF_LIFE = 500


def free(plan: Plan) -> Plan:
    return changed(plan, ema_half_life_samples=None)


def test_golden_values() -> None:
    average = WeightAverage(64)
    assert [average.weight(0, batch) for batch in (1, 64)] == [1.0, 1.0]
    assert average.weight(1, 64) == pytest.approx(0.5, rel=1e-15)
    # After updates of 64 samples in all, half of what was there remains, whatever the batch is.
    for batch in (1, 2, 16):
        kept = np.prod([1 - average.weight(t, batch) for t in range(1, 1 + 64 // batch)])
        assert kept == pytest.approx(0.5, rel=1e-12)


def by_hand(plan: Plan, dataset: Dataset, updates: int) -> tuple[Parameters, torch.Tensor]:
    """The average of torch's swa_utils in a plain loop, and its logits for the validation split."""
    config = plan.config
    torch.manual_seed(config.seed)
    model = build_model(config.model, dataset.schema).double()
    decay = 2.0 ** (-plan.global_batch / HALF_LIFE)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def logits(of: torch.nn.Module, batch: Any) -> torch.Tensor:
        given = torch.from_numpy(batch.categorical), torch.from_numpy(batch.numeric).double()
        found: torch.Tensor = of(*given)
        return found.reshape(-1)

    for step in range(updates):
        batch = dataset.train.read(
            config.seed, step * plan.global_batch, (step + 1) * plan.global_batch
        )
        optimizer.param_groups[0]["lr"] = plan.schedule.lr(step)
        optimizer.param_groups[0]["momentum"] = plan.schedule.momentum(step)
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(
            logits(model, batch), torch.from_numpy(batch.label).double()
        ).backward()
        optimizer.step()
        averaged.update_parameters(model)
    averaged.eval()
    with torch.no_grad():
        scores = logits(averaged, dataset.validation)
    trained = {name: value.detach() for name, value in averaged.module.named_parameters()}
    return trained, scores


@compiles
@pytest.mark.parametrize(
    "engine", ["eager", "layers", pytest.param("compiled", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("updates", [1, 100])
def test_it_is_that_of_torch(engine: str, updates: int) -> None:
    config = small_config(
        gpus=2, model=MODELS["mlp"], precision="fp64", schedule=OneCycleConfig(),
        ema_half_life_samples=HALF_LIFE,
    )  # fmt: skip
    plan, dataset = prepare(config)
    expected, scores = by_hand(plan, dataset, updates)
    trained: Engine = eager(plan, dataset)
    if engine != "eager":
        trained = stacked([plan], dataset, engine, width=1)
    advance(trained, updates)
    assert relative_distance(parameters(trained), expected) < 1e-10
    found = torch.from_numpy(trained.score(dataset.validation)[0])  # type: ignore[attr-defined]
    assert float((found - scores).norm() / scores.norm()) < 1e-10
    if updates > 1:
        assert relative_distance(by_torch(free(plan), dataset, updates), expected) > 1e-2


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [("deepfm", AdamConfig()), pytest.param("dlrm", LambConfig(), marks=pytest.mark.slow)],
)
def test_each_run_of_a_stack_has_its_own_half_life(model: str, optimizer: Any) -> None:
    plans, dataset = six_runs(optimizer, model=MODELS[model])
    plans = [changed(p, ema_half_life_samples=64 * 2**n) for n, p in enumerate(plans)]
    assert [stack.members for stack in make_stacks(plans)] == [
        stack.members for stack in make_stacks([free(plan) for plan in plans])
    ]
    for plan, ours in zip(plans, all_at_once(plans, dataset), strict=True):
        assert relative_distance(ours, by_torch(plan, dataset)) < 1e-10


@pytest.mark.parametrize("model", ["logistic", "deepfm"])
def test_the_bits_of_a_run_do_not_depend_on_its_neighbours(model: str) -> None:
    plans, dataset = six_runs(
        SGDConfig(), model=MODELS[model], precision="fp32", ema_half_life_samples=300
    )
    together = all_at_once(plans[:4], dataset, updates=20)
    for plan, ours in zip(plans, together, strict=False):
        assert equal(all_at_once([plan], dataset, updates=20)[0], ours)


def weights_of(arrays: Any, kind: str) -> Parameters:
    return {
        name.removeprefix(kind): torch.from_numpy(np.array(array))
        for name, array in arrays.items()
        if name.startswith(kind)
    }


@pytest.mark.parametrize("engine", [EagerEngine, StackedEngine])
@pytest.mark.parametrize("dataset", [SHORT, LARGE], ids=["small", "large tables"])
def test_it_changes_no_weight(engine: Any, dataset: dict[str, Any]) -> None:
    """Scores in between neither."""
    plan, data = prepare(
        small_config(
            model=MODELS["deepfm"], dataset=dataset, ema_half_life_samples=HALF_LIFE,
            optimizer=SGDConfig(momentum=0.0),
        )
    )  # fmt: skip
    states = []
    for each in (plan, free(plan)):
        trained = engine(each, data)
        trained.begin(0, each)
        for _ in range(3):
            advance(trained, 7)
            trained.score(data.validation)
            trained.model(0)
        states.append(trained.state(0))
    averaged, without = states
    assert equal(weights_of(averaged, "model."), weights_of(without, "model."))
    assert averaged.keys() - without.keys() == {
        f"average.{name}" for name in weights_of(without, "model.") if "offsets" not in name
    }


@pytest.mark.parametrize("first", [EagerEngine, StackedEngine])
@pytest.mark.parametrize("second", [EagerEngine, StackedEngine])
def test_a_run_goes_on_from_a_checkpoint(first: Any, second: Any) -> None:
    plan, dataset = prepare(
        small_config(model=MODELS["mlp"], precision="fp64", ema_half_life_samples=HALF_LIFE)
    )
    whole, begun, resumed = first(plan, dataset), first(plan, dataset), second(plan, dataset)
    for engine in (whole, begun):
        engine.begin(0, plan)
    advance(whole, 100)
    advance(begun, 50)
    resumed.begin(
        0,
        plan,
        Checkpoint(
            step=50, arrays=begun.state(0), evals=(), wall_s=0.0, eval_s=0.0, training=plan.training
        ),
    )
    advance(resumed, 50)
    if first is second:
        for kind in ("model.", "average."):
            assert equal(
                *(weights_of(engine.state(0), kind) for engine in (resumed, whole))
            )  # to the bit
    assert relative_distance(parameters(resumed), parameters(whole)) < 1e-10


@pytest.mark.parametrize("executor", ["layers", "eager"])
def test_an_interrupted_run_ends_with_the_same_files(executor: str, tmp_path: Path) -> None:
    """Its evaluations and model.safetensors, which are those of the average."""
    config = small_config(
        model=MODELS["deepfm"] if executor == "layers" else custom(WithBatchNorm),
        checkpoint_interval_samples=2048, ema_half_life_samples=HALF_LIFE, cowclip=0.01,
    )  # fmt: skip
    carried_out(config, tmp_path / "undisturbed")
    interrupted(config, tmp_path / "run")
    carried_out(config, tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "undisturbed")
    carried_out(replace(config, ema_half_life_samples=None), tmp_path / "without")
    kept, without = (
        load_file(tmp_path / name / "model.safetensors") for name in ("run", "without")
    )
    assert relative_distance(kept, without) > 1e-4


def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    config = small_config(
        gpus=2, micro_batch=16, model=MODELS["mlp"], precision="fp64",
        ema_half_life_samples=HALF_LIFE,
    )  # fmt: skip
    expected = virtual(config, 100)
    without = virtual(replace(config, ema_half_life_samples=None), 100)
    assert relative_distance(expected, without) > 1e-3
    for rank in ddp(config, 100, tmp_path):
        assert relative_distance({name: rank[name] for name in expected}, expected) < 1e-10


def test_the_first_evaluation_is_that_of_the_initial_weights() -> None:
    plan, dataset = prepare(small_config(model=MODELS["mlp"], ema_half_life_samples=HALF_LIFE))
    for engine in (eager, lambda plan, data: stacked([plan], data, width=1)):
        scores = [engine(each, dataset).score(dataset.validation) for each in (plan, free(plan))]
        assert np.array_equal(*scores)


def test_buffers_are_not_averaged() -> None:
    plan, dataset = prepare(
        small_config(model=custom(WithBatchNorm), dataset=SHORT, ema_half_life_samples=HALF_LIFE)
    )
    engines = [eager(each, dataset) for each in (plan, free(plan))]
    for engine in engines:
        advance(engine, 20)
    averaged, last = (dict(engine.model(0).named_buffers()) for engine in engines)
    assert equal(averaged, last) and "norm.running_mean" in averaged


# --- What is shown and refused ---


def test_the_plan_and_the_arm() -> None:
    plan, dataset = prepare(small_config(gpus=4, ema_half_life_samples=128))
    assert "half-life 128 samples (decay 0.5 an update)" in describe_plan(plan, dataset, "arm")
    assert plan.training["average"] == {"half_life_samples": 128}
    assert "average" not in free(plan).training
    hashes = {
        arm_hash(config)
        for config in ({"gpus": 1}, {"gpus": 1, "ema_half_life_samples": None, "cowclip": None})
    }
    assert len(hashes) == 1
    assert arm_hash({"gpus": 1, "ema_half_life_samples": 128}) not in hashes


@pytest.mark.parametrize(
    ("half_life", "fact"),
    [
        (0, "ema_half_life_samples=0 is below 1"),
        (1, "ema_half_life_samples=1 is so short beside a global batch of 64 samples"),
        (10**6, "ema_half_life_samples=1000000 is longer than the budget of 20,480 samples"),
    ],
)
def test_what_is_refused(half_life: int, fact: str) -> None:
    with pytest.raises(ConfigError) as error:
        short_plan(ema_half_life_samples=half_life, micro_batch=64)
    assert error.value.fact.startswith(fact) and "or null" in error.value.remedy


def test_a_range_test_reads_the_weights_themselves() -> None:
    config = small_config(task=RangeTestOptions(), ema_half_life_samples=128)
    _, dataset = prepare(small_config())
    with pytest.raises(ConfigError, match="ema_half_life_samples=128 in a range test") as error:
        plan_range_test(config, dataset, None)  # type: ignore[arg-type]
    assert "leave it out" in error.value.remedy
