"""Gradient clipping: the same in every engine, and torch's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from bsscale.data import Dataset, load_dataset
from bsscale.models import build_model
from bsscale.optimizers import AdagradConfig, LambConfig, OptimizerConfig, SGDConfig
from bsscale.planning.plan import Plan
from bsscale.schedules.options import OneCycleConfig
from tests.engines.jobs import ODD, assert_same, jobs, train_together
from tests.engines.ranks import ddp, virtual
from tests.engines.runs import (
    KINDS,
    LARGE,
    OPTIMIZERS,
    SHORT,
    all_at_once,
    by_torch,
    check_equal_forms,
    compiles,
    equal,
    relative_distance,
    short_plan,
    six_runs,
    update,
)
from tests.helpers import MODELS, changed, prepare, small_config

# Norms of these jobs are mostly between 0.05 and 0.5: some updates are clipped and some are not.
MAX_NORM = 0.15


def free(plan: Plan) -> Plan:
    """The same run, whose updates may be of any norm."""
    return changed(plan, clip_grad_norm=None)


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        *(("mlp", name) for name in ("sgd", "momentum", "lamb")),
        ("dlrm", "adamw"),
        ("deepfm", "nesterov decayed"),
        ("logistic", "adagrad decayed"),
    ],
)
def test_six_clipped_runs_at_once_are_what_each_is_by_torch(model: str, optimizer: str) -> None:
    plans, dataset = six_runs(OPTIMIZERS[optimizer], model=MODELS[model], clip_grad_norm=MAX_NORM)
    together = all_at_once(plans, dataset)
    unclipped = all_at_once([free(plan) for plan in plans], dataset)
    # (the trust ratios of LAMB's small tensors amplify rounding, on some processors to 3e-10)
    allowed = 1e-9 if optimizer == "lamb" else 1e-10
    for plan, ours, without in zip(plans, together, unclipped, strict=True):
        assert relative_distance(ours, by_torch(plan, dataset)) < allowed
        assert relative_distance(ours, without) > 1e-3


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["momentum", *KINDS])
def test_a_compiled_clipped_step_is_torchs(optimizer: str) -> None:
    plans, dataset = six_runs(
        OPTIMIZERS[optimizer], model=MODELS["deepfm"], clip_grad_norm=MAX_NORM
    )
    for plan, ours in zip(plans, all_at_once(plans, dataset, "compiled"), strict=True):
        assert relative_distance(ours, by_torch(plan, dataset)) < 1e-10


def first_norm(plan: Plan, dataset: Dataset) -> float:
    """The norm of a run's first gradient: that of its first update at a rate of 1."""
    before, after = (by_torch(plan, dataset, updates) for updates in (0, 1))
    return float(torch.cat([value.flatten() for value in update(after, before).values()]).norm())


def test_each_run_of_a_stack_is_clipped_by_its_own_norm() -> None:
    plans = [
        short_plan(
            seed=seed, model=MODELS["mlp"], precision="fp64", base_lr=1.0,
            optimizer=SGDConfig(momentum=0.0),
        )
        for seed in range(4)
    ]  # fmt: skip
    dataset = load_dataset(SHORT)
    norms = [first_norm(plan, dataset) for plan in plans]
    limit = sum(sorted(norms)[1:3]) / 2
    clipped = [changed(plan, clip_grad_norm=limit) for plan in plans]
    start = all_at_once(plans, dataset, updates=0)
    unclipped = all_at_once(plans, dataset, updates=1)
    together = all_at_once(clipped, dataset, updates=1)
    for norm, before, without, ours in zip(norms, start, unclipped, together, strict=True):
        scale = min(1.0, limit / (norm + 1e-6))
        expected = {n: before[n] + scale * (without[n] - before[n]) for n in before}
        assert relative_distance(ours, expected) < 1e-12
        assert equal(ours, without) is (norm < limit)


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        ("mlp", AdagradConfig()),
        ("deepfm", SGDConfig(momentum=0.0)),
        ("deepfm", LambConfig(weight_decay=0.0)),
    ],
    ids=["mlp adagrad", "deepfm sgd", "deepfm lamb"],
)
def test_large_tables_are_clipped_as_torch_does_whatever_rows_are_updated(
    model: str, optimizer: OptimizerConfig
) -> None:
    configs = [
        small_config(
            model=MODELS[model], dataset=LARGE, optimizer=replace(optimizer, sparse=sparse),
            precision="fp64", clip_grad_norm=MAX_NORM,
        )
        for sparse in ((False, True, "auto") if optimizer.elementwise else (False, "auto"))
    ]  # fmt: skip
    check_equal_forms(configs, free)


def test_small_sparse_tables_are_clipped_as_torch_does() -> None:
    plans, dataset = six_runs(
        SGDConfig(momentum=0.0, sparse=True), model=MODELS["mlp"], clip_grad_norm=MAX_NORM
    )
    for plan, ours in zip(plans, all_at_once(plans, dataset), strict=True):
        assert relative_distance(ours, by_torch(plan, dataset)) < 1e-10


@pytest.mark.parametrize("engine", ["stacked", "eager"])
def test_clipping_is_that_of_a_hand_written_torch_loop(engine: str) -> None:
    config = small_config(
        gpus=2, model=MODELS["mlp"], precision="fp64", schedule=OneCycleConfig(),
        clip_grad_norm=0.25,
    )  # fmt: skip
    plan, dataset = prepare(config)
    torch.manual_seed(config.seed)
    model = build_model(config.model, dataset.schema).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    norms = []
    for step in range(100):
        batch = dataset.train.read(config.seed, step * 64, (step + 1) * 64)
        optimizer.param_groups[0]["lr"] = plan.schedule.lr(step)
        optimizer.param_groups[0]["momentum"] = plan.schedule.momentum(step)
        optimizer.zero_grad()
        logit = model(torch.from_numpy(batch.categorical), torch.from_numpy(batch.numeric).double())
        binary_cross_entropy_with_logits(logit, torch.from_numpy(batch.label).double()).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)))
        optimizer.step()
    assert 10 < sum(norm > 0.25 for norm in norms) < 90
    expected = {name: value.detach() for name, value in model.named_parameters()}
    trained = by_torch(plan, dataset) if engine == "eager" else all_at_once([plan], dataset)[0]
    assert relative_distance(trained, expected) < 1e-10


def test_ranks_are_clipped_as_one_process_is(tmp_path: Path) -> None:
    config = small_config(
        gpus=2, micro_batch=16, grad_accum=2, model=MODELS["mlp"], precision="fp64",
        clip_grad_norm=MAX_NORM,
    )  # fmt: skip
    expected = virtual(config, 100)
    assert relative_distance(expected, virtual(replace(config, clip_grad_norm=None), 100)) > 1e-3
    for rank in ddp(config, 100, tmp_path):
        assert relative_distance({name: rank[name] for name in expected}, expected) < 1e-10


@pytest.mark.parametrize("dataset", [SHORT, LARGE], ids=["small", "large tables"])
def test_a_norm_that_is_not_finite_is_that_runs_divergence_alone(dataset: dict[str, Any]) -> None:
    changes = {"clip_grad_norm": 1.0, "optimizer": SGDConfig(momentum=0.0), "dataset": dataset}
    usual, unusual = jobs(3, **changes), jobs(3, ODD["diverged"], **changes)
    for made in (usual, unusual):
        train_together([[job] for job in made])
    assert unusual[1].outcome is not None and unusual[1].outcome.status == "diverged"
    for number in (0, 2):
        assert_same(unusual[number], usual[number])
