"""CowClip: its formula, the same in every engine, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bsscale.config import ExecutorOptions
from bsscale.data import Dataset
from bsscale.engines.eager import EagerEngine
from bsscale.engines.probe import check_model
from bsscale.errors import ConfigError
from bsscale.models import build_model
from bsscale.optimizers import AdamConfig, AdamWConfig, LambConfig, OptimizerConfig, SGDConfig
from bsscale.optimizers.cowclip import CowClip
from bsscale.planning.plan import Plan
from bsscale.planning.stacks import make_stacks
from bsscale.records.checkpoints import Checkpoint
from bsscale.schedules.options import LinearWarmupConfig
from bsscale.schedules.options.scaling import CustomRule, GroupScaling, make_scaling
from tests.engines.modules import custom
from tests.engines.ranks import ddp, virtual
from tests.engines.runs import (
    LARGE,
    SHORT,
    advance,
    all_at_once,
    by_torch,
    check_equal_forms,
    equal,
    parameters,
    relative_distance,
    short_plan,
    six_runs,
    stacked,
)
from tests.helpers import MODELS, changed, prepare, small_config

# Of these small models, r=0.002 clips some rows and leaves others.
RATIO = 0.002
OPTIMIZERS: dict[str, OptimizerConfig] = {
    "sgd": SGDConfig(momentum=0.0),
    "momentum": SGDConfig(weight_decay=0.01),
    "adam": AdamConfig(weight_decay=1e-4),
    "adamw": AdamWConfig(weight_decay=0.1),
    "lamb": LambConfig(),
}


def published(
    w: np.ndarray, g: np.ndarray, ids: Sequence[int], ratio: float, bound: float
) -> np.ndarray:
    """The authors' clip_id_norm (clip.py) of one table with min_w of train.py, row by row."""
    clipped = g.copy()
    min_w = ratio * math.sqrt(w.shape[1]) * bound
    for row in range(len(w)):
        count = max(1, list(ids).count(row))
        clip_t = ratio * max(float(np.linalg.norm(w[row])), min_w) * count
        norm = float(np.linalg.norm(g[row]))
        clipped[row] = g[row] * clip_t / max(norm, clip_t)
    return clipped


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    dim=st.integers(2, 9),
    size=st.floats(1e-8, 10.0),
    ratio=st.floats(1e-3, 10.0),
    bound=st.floats(1e-6, 1.0),
    ids=st.lists(st.integers(0, 4), max_size=9),
)
def test_the_formula_is_the_published_one(
    seed: int, dim: int, size: float, ratio: float, bound: float, ids: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    w, g = rng.normal(size=(5, dim)), size * rng.normal(size=(5, dim))
    w[0] *= 1e-7
    g[[row for row in range(5) if row not in ids]] = 0.0
    ours = torch.tensor(g)
    counts = torch.tensor([float(ids.count(row)) for row in range(5)], dtype=torch.float64)
    CowClip(ratio, bound).clip(ours, torch.tensor(w), counts)
    np.testing.assert_allclose(ours.numpy(), published(w, g, ids, ratio, bound), rtol=1e-12)


def test_golden_values() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3.0, 4.0]])
    gradients = torch.tensor([[60.0, 80.0], [1.0, 0.0], [0.3, 0.4]])
    CowClip(ratio=2.0, bound=0.25).clip(gradients, rows, torch.tensor([3.0, 2.0, 1.0]))
    # 100 to 3·2·5; 1 is below 2·2·(2·√2·0.25); 0.5 is below 1·2·5, and stays to the bit.
    assert torch.allclose(gradients[0], torch.tensor([18.0, 24.0]), rtol=1e-6)
    assert gradients[1:].tolist() == torch.tensor([[1.0, 0.0], [0.3, 0.4]]).tolist()


def free(plan: Plan) -> Plan:
    return changed(plan, cowclip=None)


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        ("mlp", "sgd"),
        ("deepfm", "adam"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (("dlrm", "momentum"), ("dcnv2", "adamw"), ("mlp", "lamb"))
        ),
    ],
)
def test_six_runs_at_once_are_what_each_is_by_torch(model: str, optimizer: str) -> None:
    plans, dataset = six_runs(OPTIMIZERS[optimizer], model=MODELS[model], cowclip=RATIO)
    together = all_at_once(plans, dataset)
    unclipped = all_at_once([free(plan) for plan in plans], dataset)
    for plan, ours, without in zip(plans, together, unclipped, strict=True):
        assert relative_distance(ours, by_torch(plan, dataset)) < 1e-10
        assert relative_distance(ours, without) > 1e-4


@pytest.mark.parametrize("model", ["mlp", "deepfm"])
def test_sparse_updates_equal_dense_ones_to_the_bit_and_torch(model: str) -> None:
    configs = [
        small_config(
            model=MODELS[model], dataset=LARGE, precision="fp64", cowclip=RATIO,
            optimizer=SGDConfig(momentum=0.0, sparse=sparse),
        )
        for sparse in (False, True, "auto")
    ]  # fmt: skip
    check_equal_forms(configs, free)


def test_the_bits_of_a_run_do_not_depend_on_its_neighbours() -> None:
    plans, dataset = six_runs(
        SGDConfig(), model=MODELS["deepfm"], cowclip=RATIO, precision="fp32", micro_batch=37
    )
    together = all_at_once(plans[:4], dataset, updates=20)
    for plan, ours in zip(plans, together, strict=False):
        assert equal(all_at_once([plan], dataset, updates=20)[0], ours)


@pytest.mark.parametrize("engine", ["layers", "eager"])
def test_a_hand_written_loop(engine: str) -> None:
    """The embedding is clipped by the counts of the whole batch, first-order weights are not."""
    plan, dataset = prepare(
        small_config(
            gpus=2, grad_accum=2, model=MODELS["deepfm"], precision="fp64", cowclip=RATIO,
            optimizer=SGDConfig(momentum=0.0), cowclip_bound=0.1,
        )
    )  # fmt: skip
    torch.manual_seed(plan.config.seed)
    model = build_model(plan.config.model, dataset.schema).double()
    named = dict(model.named_parameters())
    offsets = np.cumsum([0, *dataset.schema.cardinalities[:-1]])
    changed_rows = 0
    for step in range(30):
        batch = dataset.train.read(0, step * 128, (step + 1) * 128)
        logits = model(
            torch.from_numpy(batch.categorical), torch.from_numpy(batch.numeric).double()
        )
        label = torch.from_numpy(batch.label).double()
        model.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(logits, label).backward()
        table = named["embedding.table.weight"]
        assert table.grad is not None
        ids = (batch.categorical + offsets).ravel().tolist()
        before = table.grad.numpy().copy()
        after = published(table.detach().numpy(), before, ids, RATIO, 0.1)
        changed_rows += int((np.abs(after - before).max(axis=1) > 0).sum())
        table.grad.copy_(torch.from_numpy(after))
        with torch.no_grad():
            for value in model.parameters():
                assert value.grad is not None
                value -= 0.1 * value.grad
    assert changed_rows > 100
    expected = {name: value.detach() for name, value in named.items()}
    trained = by_torch(plan, dataset, 30) if engine == "eager" else (
        all_at_once([plan], dataset, updates=30)[0]
    )  # fmt: skip
    assert relative_distance(trained, expected) < 1e-12


def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    config = small_config(
        gpus=2, micro_batch=16, grad_accum=2, model=MODELS["deepfm"], precision="fp64",
        cowclip=RATIO, optimizer=AdamConfig(weight_decay=0.01), base_lr=0.01,
        scaling=make_scaling("cowclip"), schedule=LinearWarmupConfig(warmup_steps=50),
    )  # fmt: skip
    expected = virtual(config, 100)
    assert relative_distance(expected, virtual(replace(config, cowclip=None), 100)) > 1e-3
    for rank in ddp(config, 100, tmp_path):
        assert relative_distance({name: rank[name] for name in expected}, expected) < 1e-10


def test_a_run_goes_on_in_another_engine() -> None:
    plan, dataset = prepare(small_config(model=MODELS["mlp"], precision="fp64", cowclip=RATIO))
    first = stacked([plan], dataset, width=1)
    advance(first, 50)
    second = EagerEngine(plan, dataset)
    checkpoint = Checkpoint(
        step=50, arrays=first.state(0), evals=(), wall_s=0.0, eval_s=0.0, training=plan.training
    )
    second.begin(0, plan, checkpoint)
    advance(second, 50)
    assert relative_distance(parameters(second), by_torch(plan, dataset)) < 1e-10


# --- Its rule ---


def test_the_rule_keeps_the_rate_of_the_tables_during_the_warmup() -> None:
    config = small_config(
        gpus=4, model=MODELS["mlp"], precision="fp64", cowclip=1.0, base_lr=0.01,
        optimizer=AdamConfig(weight_decay=1e-4), scaling=make_scaling("cowclip"),
        schedule=LinearWarmupConfig(warmup_steps=10, start_lr=0.0),
    )  # fmt: skip
    plan, dataset = prepare(config)
    dense, tables = plan.groups
    assert plan.schedule.peak == 0.02 and plan.schedule.lr(0) == 0.0
    assert (dense.constant_lr, tables.constant_lr) == (None, 0.01)
    assert dense.optimizer.weight_decay == 1e-4 and tables.optimizer.weight_decay == 4e-4
    start, first = (by_torch(plan, dataset, updates) for updates in (0, 1))
    assert torch.equal(start["top.0.weight"], first["top.0.weight"])
    assert not torch.equal(start["embedding.table.weight"], first["embedding.table.weight"])
    assert relative_distance(all_at_once([plan], dataset)[0], by_torch(plan, dataset)) < 1e-10


def test_the_penalty_of_the_rule_can_be_switched_off() -> None:
    rule = make_scaling({"name": "cowclip", "embeddings": {"lr": "constant"}})
    off = make_scaling(
        {"name": "cowclip", "embeddings": {"lr": "constant", "weight_decay": "none"}}
    )
    for scaling in (rule, off):
        plan = short_plan(gpus=4, model=MODELS["mlp"], scaling=scaling, optimizer=AdamConfig())
        assert plan.groups[1].optimizer == AdamConfig()
    with pytest.raises(ConfigError, match="has weight_decay=0") as error:
        short_plan(gpus=4, scaling=make_scaling("cowclip"), optimizer=AdamConfig())
    assert "scaling.embeddings.weight_decay=none" in error.value.remedy


def test_a_constant_rate_has_no_ratio() -> None:
    rule = make_scaling("cowclip").build()
    with pytest.raises(ConfigError, match="no ratio to the schedule's"):
        rule.lr_ratios(4)
    with pytest.raises(ConfigError, match=r"scaling\.lr=constant is not one of its values"):
        CustomRule(lr="constant").build()
    same = CustomRule(lr="sqrt", embeddings=GroupScaling(lr="constant")).build()
    assert same.embeddings is not None and not same.embeddings.follows_schedule


# --- Any module, and what is refused ---


class TwoTables(nn.Module):
    """An embedding that two fields share, and a bag of another."""

    sparse = False

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__()
        self.shared = nn.Embedding(max(cardinalities[:2]), 3)
        self.bag = nn.EmbeddingBag(cardinalities[2], 3, mode="sum", sparse=self.sparse)
        self.out = nn.Linear(3 + numeric_fields, 1)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        vectors = self.shared(categorical[:, 0]) * self.shared(input=categorical[:, 1])
        vectors = vectors + self.bag(categorical[:, 2:3])
        logit: Tensor = self.out(torch.cat([vectors, numeric], dim=1))
        return logit


class Sparse(TwoTables):
    sparse = True


def module(kind: type[nn.Module]) -> dict[str, Any]:
    return {**custom(kind), "_target_": f"{__name__}.{kind.__name__}"}


def test_any_module_is_clipped_run_by_run() -> None:
    plan, dataset = prepare(
        small_config(
            model=module(TwoTables), dataset=SHORT, precision="fp64", cowclip=RATIO,
            optimizer=SGDConfig(momentum=0.0),
        )
    )  # fmt: skip
    assert plan.training_step == "eager" and "run by run" in plan.training_step_reason
    assert {stack.width for stack in make_stacks([plan, changed(plan, seed=1)])} == {1}
    check_model(plan, dataset)
    engine = EagerEngine(plan, dataset)
    engine.begin(0, plan)
    batch = dataset.train.read(0, 0, 32)
    expected = clipped_update(plan, batch.categorical, dataset)
    engine.squared_norms(0)  # (what it reads is counted by no update)
    engine.score(dataset.validation)
    advance(engine, 1)
    assert relative_distance(parameters(engine), expected) < 1e-12


def clipped_update(plan: Plan, ids: np.ndarray, dataset: Dataset) -> dict[str, Tensor]:
    """The parameters after the first update, by the formula."""
    before, after = (by_torch(free(plan), dataset, updates) for updates in (0, 1))
    rate = plan.schedule.lr(0)
    gradients = {name: (before[name] - after[name]) / rate for name in before}
    for name, read in (("shared.weight", ids[:, :2]), ("bag.weight", ids[:, 2:3])):
        w, g = before[name].numpy(), gradients[name].numpy()
        clipped = torch.from_numpy(published(w, g, read.ravel().tolist(), RATIO, 1e-5))
        assert not torch.allclose(clipped, gradients[name])
        gradients[name] = clipped
    return {name: before[name] - rate * gradients[name] for name in before}


def test_what_is_refused() -> None:
    for changes, fact, remedy in (
        ({"cowclip": 0.0}, "cowclip=0.0 is not a positive number", "cowclip=1"),
        ({"cowclip": math.inf}, "cowclip=inf is not", "cowclip=1"),
        ({"cowclip": math.nan}, "cowclip=nan is not", "cowclip=1"),
        ({"cowclip": 1.0, "cowclip_bound": -1.0}, "cowclip_bound=-1.0 is not", "1e-05"),
        ({"cowclip_bound": 1e-4}, "cowclip_bound=0.0001 does nothing without", "cowclip=1"),
        ({"cowclip": 1.0, "clip_grad_norm": 1.0}, "would both clip", "one of them"),
        (
            {"cowclip": 1.0, "executor": ExecutorOptions("virtual", "cpu", compile=True)},
            "executor.compile=true with cowclip=1", "executor.compile=auto",
        ),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as error:
            short_plan(**changes)
        assert error.value.fact.find(fact) >= 0 and remedy in error.value.remedy


def test_models_without_rows_to_clip_are_refused() -> None:
    for model, dataset in (("logistic", SHORT), ("mlp", {**SHORT, "categorical_fields": 0})):
        plan, data = prepare(small_config(model=MODELS[model], dataset=dataset, cowclip=1.0))
        for start in (stacked, lambda plans, data: by_torch(plans[0], data)):
            with pytest.raises(ConfigError, match="has no embedding table") as error:
                start([plan], data)
            assert "leave cowclip out" in error.value.remedy
    plan, data = prepare(small_config(model=module(Sparse), dataset=SHORT, cowclip=1.0))
    with pytest.raises(ConfigError, match=r"has sparse gradients .* cowclip=1 needs dense"):
        check_model(plan, data)
