"""Embedding tables with rates and options of their own: the same in every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bsscale.engines.eager import EagerEngine
from bsscale.engines.stacked import StackedEngine
from bsscale.errors import ConfigError
from bsscale.models import build_model
from bsscale.optimizers import AdamWConfig, LambConfig, OptimizerConfig, SGDConfig
from bsscale.planning.stacks import make_stacks
from bsscale.records.checkpoints import Checkpoint
from bsscale.schedules.options import FixedConfig, OneCycleConfig
from bsscale.schedules.options.scaling import CustomRule, GroupScaling, ScalingConfig, SqrtRule
from bsscale.schedules.torch_form import attach
from tests.engines.modules import Tied, custom
from tests.engines.ranks import ddp, virtual
from tests.engines.runs import (
    LARGE,
    SHORT,
    advance,
    all_at_once,
    by_torch,
    compiles,
    eager,
    equal,
    parameters,
    relative_distance,
    short_plan,
    stacked,
)
from tests.helpers import MODELS, SYNTHETIC, prepare, small_config

EMBEDDINGS_AT_ONE_GPU = SqrtRule(embeddings=GroupScaling(lr="none"))
# Everything that a group may have of its own.
ALL = CustomRule(
    lr="sqrt", momentum="power", beta2="complement", weight_decay="sqrt",
    embeddings=GroupScaling(lr=0.25, momentum="none", beta2="power", eps=-0.5, weight_decay="none"),
)  # fmt: skip
CASES: dict[str, tuple[OptimizerConfig, Any]] = {
    "sgd": (SGDConfig(), EMBEDDINGS_AT_ONE_GPU),
    "sgd without momentum": (SGDConfig(momentum=0.0), EMBEDDINGS_AT_ONE_GPU),
    "adamw": (AdamWConfig(weight_decay=0.1), ALL),
    "lamb": (LambConfig(), EMBEDDINGS_AT_ONE_GPU),
}


def config_of(case: str, **changes: Any) -> Any:
    optimizer, scaling = CASES[case]
    return small_config(**{
        "gpus": 2, "model": MODELS["mlp"], "precision": "fp64", "base_lr": 0.02,
        "optimizer": optimizer, "scaling": scaling, "dataset": SHORT, **changes,
    })  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_layers_equal_eager(case: str) -> None:
    plan, dataset = prepare(config_of(case))
    expected = by_torch(plan, dataset)
    [layers] = all_at_once([plan], dataset)
    assert relative_distance(layers, expected) < 1e-10
    unscaled, _ = prepare(config_of(case, scaling=SqrtRule()))
    assert relative_distance(expected, by_torch(unscaled, dataset)) > 1e-4


@compiles
@pytest.mark.slow
def test_compiled_equals_eager() -> None:
    plan, dataset = prepare(config_of("adamw"))
    [compiled] = all_at_once([plan], dataset, "compiled")
    assert relative_distance(compiled, by_torch(plan, dataset)) < 1e-10


@pytest.mark.parametrize("case", ["sgd", "adamw"])
def test_two_ranks_equal_one_process(case: str, tmp_path: Path) -> None:
    config = config_of(case, dataset=SYNTHETIC)
    expected = virtual(config, 100)
    for rank in ddp(config, 100, tmp_path):
        assert relative_distance({name: rank[name] for name in expected}, expected) < 1e-10


def test_a_hand_written_loop_with_embeddings_at_the_1_gpu_rate() -> None:
    """16 GPUs: the dense group at 4 times base_lr, the embedding group at base_lr."""
    plan, dataset = prepare(config_of("sgd", gpus=16, dataset=SYNTHETIC))
    torch.manual_seed(plan.config.seed)
    model = build_model(plan.config.model, dataset.schema).double()
    table = [value for name, value in model.named_parameters() if name.endswith("table.weight")]
    dense = [value for name, value in model.named_parameters() if not name.endswith("table.weight")]
    optimizer = torch.optim.SGD([{"params": dense}, {"params": table}], lr=0.0, momentum=0.9)
    rule = EMBEDDINGS_AT_ONE_GPU.build()
    scheduler = attach(optimizer, plan.schedule, ratios=rule.lr_ratios(16))
    assert [group["lr"] for group in optimizer.param_groups] == [0.08, 0.02]
    for step in range(20):
        batch = dataset.train.read(0, step * 512, (step + 1) * 512)
        logits = model(
            torch.from_numpy(batch.categorical), torch.from_numpy(batch.numeric).double()
        )
        label = torch.from_numpy(batch.label).double()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    by_hand = {name: value.detach() for name, value in model.named_parameters()}
    for trained in (by_torch(plan, dataset, 20), all_at_once([plan], dataset, updates=20)[0]):
        assert relative_distance(trained, by_hand) < 1e-10


def test_a_schedule_that_cycles_momentum_moves_that_of_every_group() -> None:
    plan, dataset = prepare(config_of("sgd", schedule=OneCycleConfig()))
    [layers] = all_at_once([plan], dataset)
    assert relative_distance(layers, by_torch(plan, dataset)) < 1e-10


@pytest.mark.parametrize("step", ["layers", "eager"])
def test_one_gpu_trains_what_no_rule_trains_to_the_bit(step: str) -> None:
    trained = []
    for scaling in (ALL, ScalingConfig()):
        plan, dataset = prepare(
            config_of("adamw", gpus=1, scaling=scaling, precision="fp32", schedule=FixedConfig())
        )
        trained.append(
            by_torch(plan, dataset) if step == "eager" else all_at_once([plan], dataset)[0]
        )
    assert equal(*trained)


def test_sparse_updates_of_a_group_equal_dense_ones_to_the_bit() -> None:
    trained = []
    for sparse in (True, False):
        optimizer = SGDConfig(momentum=0.0, sparse=sparse)
        plan, dataset = prepare(
            config_of("sgd", optimizer=optimizer, dataset=LARGE, precision="fp32")
        )
        trained.append(all_at_once([plan], dataset)[0])
    assert equal(*trained)


def test_runs_with_other_rates_share_a_stack_and_those_with_other_options_do_not() -> None:
    def plans(*scalings: Any) -> list[Any]:
        base = {"gpus": 2, "model": MODELS["mlp"], "optimizer": AdamWConfig()}
        return [short_plan(**base, scaling=each) for each in scalings]

    alike = plans(EMBEDDINGS_AT_ONE_GPU, SqrtRule(embeddings=GroupScaling(lr=0.25)))
    assert [stack.members for stack in make_stacks(alike)] == [(0, 1)]
    assert len(make_stacks(plans(EMBEDDINGS_AT_ONE_GPU, SqrtRule()))) == 2
    decay = CustomRule(embeddings=GroupScaling(weight_decay="linear"))
    assert len(make_stacks(plans(EMBEDDINGS_AT_ONE_GPU, decay))) == 2


def test_each_run_of_a_stack_has_its_own_ratio() -> None:
    base = {"gpus": 2, "model": MODELS["mlp"], "precision": "fp64"}
    runs = [
        short_plan(**base, scaling=SqrtRule(embeddings=GroupScaling(lr=p)), seed=seed)
        for seed, p in enumerate((0.0, 0.25))
    ]
    _, dataset = prepare(runs[0].config)
    for together, plan in zip(all_at_once(runs, dataset), runs, strict=True):
        assert relative_distance(together, by_torch(plan, dataset)) < 1e-10


def test_a_run_goes_on_in_another_engine() -> None:
    plan, dataset = prepare(config_of("adamw"))
    whole = by_torch(plan, dataset)
    first = stacked([plan], dataset, width=1)
    advance(first, 50)
    second = EagerEngine(plan, dataset)
    checkpoint = Checkpoint(
        step=50, arrays=first.state(0), evals=(), wall_s=0.0, eval_s=0.0, training=plan.training
    )
    second.begin(0, plan, checkpoint)
    advance(second, 50)
    assert relative_distance(parameters(second), whole) < 1e-10


def test_tied_tables_are_embeddings() -> None:
    plan, dataset = prepare(config_of("sgd", model=custom(Tied)))
    engine = eager(plan, dataset)
    names = {id(value): name for name, value in engine.model(0).named_parameters()}
    groups = [[names[id(p)] for p in group["params"]] for group in engine.optimizer.param_groups]
    assert groups[1] == ["table.weight"] and len(groups[0]) == len(names) - 1


def test_a_model_without_tables_is_refused() -> None:
    numbers_only = {**SHORT, "categorical_fields": 0}
    plan, dataset = prepare(config_of("sgd", dataset=numbers_only))
    for start in (lambda: StackedEngine(plan, dataset), lambda: eager(plan, dataset)):
        with pytest.raises(ConfigError, match=r"scaling\.embeddings is given, but MLP has no") as e:
            start()
        assert "leave scaling.embeddings out" in e.value.remedy
