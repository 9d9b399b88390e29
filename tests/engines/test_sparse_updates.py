"""Updates of touched rows only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from bsscale.config import ExecutorOptions
from bsscale.data import Dataset
from bsscale.engines.engine import Engine
from bsscale.errors import ConfigError
from bsscale.models import MLP, build_model
from bsscale.optimizers import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    LambConfig,
    OptimizerConfig,
    SGDConfig,
)
from bsscale.optimizers.optimizer import SPARSE_ROWS
from tests.engines.runs import (
    LARGE,
    SHORT,
    advance,
    all_at_once,
    equal,
    parameters,
    relative_distance,
    stacked,
)
from tests.helpers import MODELS, changed, prepare, small_config

SMALLER: dict[str, Any] = {**SHORT, "categorical_fields": 3, "cardinality": 200}


@pytest.mark.parametrize("optimizer", [SGDConfig(momentum=0.0), AdagradConfig()], ids=["sgd", "ad"])
@pytest.mark.parametrize("model", ["mlp", "deepfm", "logistic"])
def test_sparse_updates_are_the_dense_ones_to_the_bit(
    model: str, optimizer: OptimizerConfig
) -> None:
    trained = []
    for sparse in (False, True, "auto"):
        config = small_config(
            model=MODELS[model], dataset=LARGE, optimizer=replace(optimizer, sparse=sparse)
        )
        plan, dataset = prepare(config)
        assert sum(dataset.schema.cardinalities) >= 30_000
        plans = [changed(plan, seed=seed) for seed in range(2)]
        trained.append(all_at_once(plans, dataset, updates=50))
    for others in trained[1:]:
        assert all(equal(*pair) for pair in zip(others, trained[0], strict=True))


@pytest.mark.parametrize(
    ("optimizer", "exact"),
    [
        (SGDConfig(momentum=0.0), True),
        (AdagradConfig(), True),
        (SGDConfig(), False),
        (SGDConfig(momentum=0.0, weight_decay=0.1), False),
        (AdagradConfig(weight_decay=0.1), False),
        (AdamConfig(), False),
        (AdamConfig(beta1=0.0), False),
        (AdamWConfig(weight_decay=0.0), False),
    ],
)
def test_auto_is_sparse_in_large_tables_where_that_is_exact(
    optimizer: OptimizerConfig, exact: bool
) -> None:
    assert optimizer.updates_touched_rows_only(SPARSE_ROWS) is exact
    assert not optimizer.updates_touched_rows_only(SPARSE_ROWS - 1)
    assert replace(optimizer, sparse=True).updates_touched_rows_only(1)
    assert not replace(optimizer, sparse=False).updates_touched_rows_only(10**9)


def table_of(engine: Engine, slot: int = 0) -> Tensor:
    return parameters(engine, slot)["embedding.table.weight"]


def touched_rows(dataset: Dataset, seed: int, samples: int) -> Tensor:
    ids = dataset.train.read(seed, 0, samples).categorical
    starts = np.cumsum([0, *dataset.schema.cardinalities[:-1]])
    return torch.from_numpy(np.unique(ids + starts))


@pytest.mark.parametrize(
    "optimizer",
    [
        SGDConfig(weight_decay=0.1),
        SGDConfig(momentum=0.0, weight_decay=0.1),
        AdamConfig(weight_decay=0.1),
        AdamWConfig(weight_decay=0.1),
        AdagradConfig(weight_decay=0.1),
    ],
    ids=lambda optimizer: optimizer.name,
)
def test_lazy_updates_leave_untouched_rows_as_they_were(optimizer: OptimizerConfig) -> None:
    config = small_config(
        model=MODELS["mlp"], dataset=SMALLER, optimizer=replace(optimizer, sparse=True)
    )
    plan, dataset = prepare(config)
    engine = stacked([changed(plan, seed=seed) for seed in (3, 4)], dataset, width=2)
    before = [table_of(engine, slot) for slot in range(2)]
    advance(engine, 10)
    for slot, seed in enumerate((3, 4)):
        after = table_of(engine, slot)
        touched = torch.zeros(len(after), dtype=torch.bool)
        touched[touched_rows(dataset, seed, 320)] = True
        assert 100 < touched.sum() < len(touched) - 100
        assert torch.equal(after[~touched], before[slot][~touched])
        assert (after[touched] != before[slot][touched]).any(dim=1).all()


def gradients(model: nn.Module, dataset: Dataset, step: int) -> None:
    model.zero_grad()
    batch = dataset.train.read(0, step * 32, (step + 1) * 32)
    logit = model(torch.from_numpy(batch.categorical), torch.from_numpy(batch.numeric).double())
    binary_cross_entropy_with_logits(logit, torch.from_numpy(batch.label).double()).backward()


def test_lazy_adam_is_torchs_sparse_adam() -> None:
    # SparseAdam's ε is not divided by the square root of the bias correction, as Adam's is: with
    # an ε of nothing they are one rule.
    config = small_config(
        model=MODELS["mlp"], dataset=SMALLER, precision="fp64", base_lr=0.01,
        optimizer=AdamConfig(sparse=True, eps=1e-30),
    )  # fmt: skip
    plan, dataset = prepare(config)
    engine = stacked([plan], dataset, width=2)
    advance(engine, 50)

    torch.manual_seed(config.seed)
    model = build_model(config.model, dataset.schema).double()
    assert isinstance(model, MLP) and model.embedding is not None
    model.embedding.table.sparse = True
    table = model.embedding.table.weight
    rest = [value for value in model.parameters() if value is not table]
    options: dict[str, Any] = {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-30}
    optimizers = [torch.optim.SparseAdam([table], **options), torch.optim.Adam(rest, **options)]
    for step in range(50):
        gradients(model, dataset, step)
        for optimizer in optimizers:
            optimizer.step()
    trained = parameters(engine)
    assert relative_distance({"table": table_of(engine)}, {"table": table.detach()}) < 1e-10
    assert relative_distance(trained, dict(model.named_parameters())) < 1e-10


@pytest.mark.parametrize("nesterov", [False, True], ids=["heavy ball", "nesterov"])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_lazy_momentum_is_a_loop_over_the_touched_rows(nesterov: bool, decay: float) -> None:
    config = small_config(
        model=MODELS["mlp"], dataset=SMALLER, precision="fp64", base_lr=0.05,
        optimizer=SGDConfig(sparse=True, nesterov=nesterov, weight_decay=decay),
    )  # fmt: skip
    plan, dataset = prepare(config)
    engine = stacked([plan], dataset, width=2)
    advance(engine, 50)

    torch.manual_seed(config.seed)
    model = build_model(config.model, dataset.schema).double()
    values = dict(model.named_parameters())
    velocities = {name: torch.zeros_like(value) for name, value in values.items()}
    for step in range(50):
        gradients(model, dataset, step)
        ids = dataset.train.read(0, step * 32, (step + 1) * 32).categorical
        starts = np.cumsum([0, *dataset.schema.cardinalities[:-1]])
        for name, value in values.items():
            rows: Any = np.unique(ids + starts) if name.startswith("embedding") else slice(None)
            with torch.no_grad():
                assert value.grad is not None
                gradient = value.grad[rows] + decay * value[rows]
                velocity = 0.9 * velocities[name][rows] + gradient
                velocities[name][rows] = velocity
                value[rows] -= 0.05 * (gradient + 0.9 * velocity if nesterov else velocity)
    assert relative_distance(parameters(engine), values) < 1e-10


@pytest.mark.parametrize(
    ("executor", "facts"),
    [
        (ExecutorOptions("ddp", "cpu"), ["optimizer.sparse=true", "ddp", "optimizer.sparse=auto"]),
        (
            ExecutorOptions("virtual", "cpu", compile=True),
            ["optimizer.sparse=true", "compiled", "optimizer.sparse=auto"],
        ),
    ],
)
def test_sparse_updates_are_refused_where_there_are_none(
    executor: ExecutorOptions, facts: list[str]
) -> None:
    config = small_config(executor=executor, gpus=2, optimizer=SGDConfig(sparse=True))
    with pytest.raises(ConfigError) as refusal:
        prepare(config)
    assert all(fact in str(refusal.value) for fact in facts)
    prepare(replace(config, optimizer=SGDConfig(sparse="auto")))


def test_sparse_updates_are_refused_where_a_row_depends_on_its_table() -> None:
    facts = r"optimizer\.sparse=true with optimizer=lamb(.|\n)*optimizer\.sparse=auto"
    with pytest.raises(ConfigError, match=facts):
        prepare(small_config(optimizer=LambConfig(sparse=True)))
    for sparse in ("auto", False):
        optimizer = LambConfig(beta1=0.0, weight_decay=0.0, sparse=sparse)
        prepare(small_config(optimizer=optimizer))
        assert not optimizer.updates_touched_rows_only(10**9)


def test_sparse_is_a_choice_of_three() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.sparse=maybe(.|\n)*auto, true or false"):
        prepare(small_config(optimizer=SGDConfig(sparse="maybe")))
