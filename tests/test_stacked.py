"""The stacked engine: every run in a stack is the run that it would be alone."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from bsscale.config import Config, ExecutorConfig
from bsscale.data import Dataset, load_dataset
from bsscale.engines.eager import EagerEngine
from bsscale.engines.engine import Engine
from bsscale.engines.stacked import StackedEngine
from bsscale.errors import ConfigError
from bsscale.models import MLP, build_model
from bsscale.optimizers import AdagradConfig, AdamConfig, AdamWConfig, OptimizerConfig, SGDConfig
from bsscale.optimizers.options import SPARSE_ROWS
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan, make_plan
from bsscale.planning.stacks import Stack, make_stacks, split
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import RunRecord
from bsscale.schedules.options import (
    CosineConfig,
    FixedConfig,
    LinearWarmupConfig,
    OneCycleConfig,
    OneCycleTorchConfig,
    WSDConfig,
)
from bsscale.training.loop import Outcome, train
from bsscale.training.recorded_run import RunSpec
from bsscale.training.run import make_engine, run_together
from tests.helpers import MODELS, SYNTHETIC, Watched, prepare, small_config

Parameters = dict[str, Tensor]
Run = tuple[Config, Plan]

UPDATES = 100
# One pass is 62 updates, so that every schedule turns within 100.
SHORT: dict[str, Any] = {**SYNTHETIC, "samples_per_pass": 2000}
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
}
# Every update rule in its fullest form; of the others, the models do not know.
KINDS = ("sgd decayed", "nesterov decayed", "adam decayed", "adamw", "adagrad decayed")
SCHEDULES = (
    FixedConfig(),
    OneCycleConfig(),
    LinearWarmupConfig(warmup_fraction=0.5),
    CosineConfig(),
    WSDConfig(stable_fraction=0.2),
    OneCycleTorchConfig(),
)
MOMENTA = (0.9, 0.5, 0.95, 0.8, 0.85, 0.7)


def six_runs(optimizer: OptimizerConfig, **changes: Any) -> tuple[list[Run], Dataset]:
    """Runs that differ in all that runs of a stack may differ in."""
    key = "beta1" if isinstance(optimizer, AdamConfig) else "momentum"
    changes = {"dataset": SHORT, "base_lr": 0.02, "precision": "fp64", **changes}
    base = small_config(optimizer=optimizer, budget_samples=UPDATES * 32, **changes)
    dataset = load_dataset(base.dataset)
    runs = []
    for number, (schedule, momentum) in enumerate(zip(SCHEDULES, MOMENTA, strict=True)):
        own = {} if optimizer.momentum_now is None else {key: momentum}
        config = replace(
            base,
            seed=number,
            schedule=schedule,
            optimizer=replace(optimizer, **own),
            base_lr=0.02 * (1 + number),
        )
        runs.append((config, make_plan(config, 2000, Devices(cuda=0))))
    return runs, dataset


def finite(dataset: Dataset) -> Dataset:
    """2,000 samples of a stream as a data set of arrays."""
    samples = dataset.train.read(0, 0, 2000)
    return Dataset.from_arrays(dataset.schema, samples, dataset.validation, dataset.test)


def parameters(engine: Engine, slot: int = 0) -> Parameters:
    return {name: value.detach().clone() for name, value in engine.model(slot).named_parameters()}


def advance(engine: Engine, updates: int) -> None:
    while updates:
        now = min(updates, engine.updates_at_once)
        engine.advance(now)
        updates -= now


def by_torch(run: Run, dataset: Dataset, updates: int = UPDATES) -> Parameters:
    engine = EagerEngine(run[1], dataset)
    engine.begin(0, *run)
    advance(engine, updates)
    return parameters(engine)


def stacked(runs: Sequence[Run], dataset: Dataset, step: str = "layers", width: int = 6) -> Any:
    config, plan = runs[0]
    plan = replace(plan, training_step=step)
    engine = StackedEngine(config, plan, dataset, width)
    for slot, run in enumerate(runs[:width]):
        engine.begin(slot, *run)
    return engine


def all_at_once(
    runs: Sequence[Run], dataset: Dataset, step: str = "layers", updates: int = UPDATES
) -> list[Parameters]:
    engine = stacked(runs, dataset, step, len(runs))
    advance(engine, updates)
    return [parameters(engine, slot) for slot in range(len(runs))]


def with_refills(runs: Sequence[Run], dataset: Dataset, step: str = "layers") -> list[Parameters]:
    """Six runs in four slots that start and end at different times, with empty slots between."""
    engine = stacked(runs[:2], dataset, step, 4)
    trained = {}
    advance(engine, 30)
    engine.begin(2, *runs[2])
    engine.begin(3, *runs[3])
    advance(engine, 70)
    for slot in (0, 1):
        trained[slot] = parameters(engine, slot)
        engine.end(slot)
        engine.begin(slot, *runs[4 + slot])
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


def update(after: Parameters, before: Parameters) -> Parameters:
    return {name: after[name] - before[name] for name in after}


# What torch says of its own parts while it compiles.
compiles = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

# A stack equals its runs, one at a time.


# Every update rule and every model once; slow: each with each.
QUICK = [
    *(("mlp", name) for name in ("sgd", "momentum", "adam decayed", "adagrad decayed")),
    ("dlrm", "adamw"),
    ("deepfm", "nesterov decayed"),
    ("logistic", "sgd decayed"),
    ("logistic", "adam"),
]
ALL = [(model, optimizer) for model in MODELS for optimizer in OPTIMIZERS]
EACH_WITH_EACH = [
    pytest.param(*pair, marks=[] if pair in QUICK else pytest.mark.slow) for pair in ALL
]


@pytest.mark.parametrize(("model", "optimizer"), EACH_WITH_EACH)
def test_six_runs_at_once_are_what_each_is_by_torch_and_alone(model: str, optimizer: str) -> None:
    runs, dataset = six_runs(OPTIMIZERS[optimizer], model=MODELS[model])
    together = all_at_once(runs, dataset)
    refilled = with_refills(runs, dataset)
    for number, run in enumerate(runs):
        of_torch = by_torch(run, dataset)
        [alone] = all_at_once([run], dataset)
        for others in (together[number], refilled[number], alone):
            assert relative_distance(others, of_torch) < 1e-10
        # (the runs do differ: else the wrong slot would do as well)
        assert relative_distance(together[number], together[number - 1]) > 1e-4


@pytest.mark.parametrize(("model", "optimizer"), EACH_WITH_EACH)
def test_one_float32_update_is_torchs(model: str, optimizer: str) -> None:
    runs, dataset = six_runs(OPTIMIZERS[optimizer], model=MODELS[model], precision="fp32")
    together = all_at_once(runs, dataset, updates=1)
    for run, parameters_now in zip(runs, together, strict=True):
        before, after = (by_torch(run, dataset, updates) for updates in (0, 1))
        # Adam's and Adagrad's first update is lr x sign(gradient): where a gradient is zero up to
        # rounding the sign is noise, so the update is compared where SGD's is.
        if isinstance(run[0].optimizer, SGDConfig):
            assert relative_distance(update(parameters_now, before), update(after, before)) < 1e-5
        assert relative_distance(parameters_now, after) < 1e-5


@pytest.mark.parametrize("arrays", [False, True], ids=["stream", "arrays"])
@pytest.mark.parametrize(
    ("model", "fields"),
    [
        *((model, "numeric_fields") for model in MODELS),
        *((model, "categorical_fields") for model in ("mlp", "logistic")),
        ("mlp", ""),
    ],
)
def test_data_without_one_kind_of_field(model: str, fields: str, arrays: bool) -> None:
    """No numbers, or no categories, or both there; from a stream, and from arrays."""
    without = {fields: 0} if fields else {}
    runs, dataset = six_runs(AdamConfig(), model=MODELS[model], dataset={**SHORT, **without})
    if arrays:
        dataset = finite(dataset)
    refilled = with_refills(runs, dataset)
    for number in (0, 5):
        assert relative_distance(refilled[number], by_torch(runs[number], dataset)) < 1e-10


def test_more_updates_than_are_gathered_at_once_cross_passes_over_the_arrays() -> None:
    """Chunks of updates end within a pass, and passes within chunks."""
    runs, dataset = six_runs(SGDConfig(), model=MODELS["mlp"])
    dataset = finite(dataset)
    engine = stacked(runs, dataset)
    engine.updates_at_once = 7
    advance(engine, UPDATES)
    for slot, run in enumerate(runs):
        assert relative_distance(parameters(engine, slot), by_torch(run, dataset)) < 1e-10


def check_compiled(model: Mapping[str, Any], optimizer: OptimizerConfig) -> None:
    runs, dataset = six_runs(optimizer, model=model)
    refilled = with_refills(runs, dataset, "compiled")
    for run, parameters_now in zip(runs, refilled, strict=True):
        assert relative_distance(parameters_now, by_torch(run, dataset)) < 1e-10


@compiles
def test_a_compiled_step_is_torchs() -> None:
    check_compiled(MODELS["mlp"], OPTIMIZERS["momentum"])


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("optimizer", KINDS)
@pytest.mark.parametrize("model", MODELS)
def test_a_compiled_step_of_every_model_and_optimizer_is_torchs(model: str, optimizer: str) -> None:
    check_compiled(MODELS[model], OPTIMIZERS[optimizer])


@compiles
@pytest.mark.slow
def test_compiled_runs_at_once_are_what_each_is_alone() -> None:
    runs, dataset = six_runs(OPTIMIZERS["adam"], model=MODELS["mlp"])
    together = all_at_once(runs, dataset, "compiled")
    [alone] = all_at_once(runs[4:5], dataset, "compiled")
    assert relative_distance(together[4], alone) < 1e-10


@compiles
@pytest.mark.slow
def test_one_float32_update_of_a_compiled_step_is_torchs() -> None:
    runs, dataset = six_runs(SGDConfig(), model=MODELS["mlp"], precision="fp32")
    together = all_at_once(runs, dataset, "compiled", updates=1)
    for run, parameters_now in zip(runs, together, strict=True):
        before, after = (by_torch(run, dataset, updates) for updates in (0, 1))
        assert relative_distance(update(parameters_now, before), update(after, before)) < 1e-5


class Tied(nn.Module):
    """One matrix used twice, and parameters of no and of one dimension."""

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__()
        self.first = nn.Linear(numeric_fields, numeric_fields)
        self.second = nn.Linear(numeric_fields, numeric_fields, bias=False)
        self.second.weight = self.first.weight
        self.table = nn.Embedding(max(cardinalities), 1)
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        hidden = self.second(torch.tanh(self.first(numeric)))
        logit: Tensor = self.scale * hidden.sum(dim=1) + self.table(categorical).sum(dim=(1, 2))
        return logit


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("fields", [{}, {"numeric_fields": 0}])
def test_a_compiled_custom_model_is_torchs(fields: dict[str, int]) -> None:
    """A tied parameter is one; a parameter without elements is no obstacle."""
    model = MODELS["logistic"] if fields else custom(Tied)
    runs, dataset = six_runs(SGDConfig(), model=model, dataset={**SHORT, **fields})
    trained = all_at_once(runs, dataset, "compiled")
    for run, parameters_now in zip(runs, trained, strict=True):
        assert relative_distance(parameters_now, by_torch(run, dataset)) < 1e-10


# Updates of touched rows only.

LARGE: dict[str, Any] = {**SHORT, "categorical_fields": 3, "cardinality": 10_000}
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
        runs = [(replace(config, seed=seed), replace(plan, seed=seed)) for seed in range(2)]
        trained.append(all_at_once(runs, dataset, updates=50))
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
    runs = [(replace(config, seed=seed), replace(plan, seed=seed)) for seed in (3, 4)]
    engine = stacked(runs, dataset, width=2)
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
    engine = stacked([(config, plan)], dataset, width=2)
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
    engine = stacked([(config, plan)], dataset, width=2)
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
        (ExecutorConfig("ddp", "cpu"), ["optimizer.sparse=true", "ddp", "optimizer.sparse=auto"]),
        (
            ExecutorConfig("virtual", "cpu", compile=True),
            ["optimizer.sparse=true", "compiled", "optimizer.sparse=auto"],
        ),
    ],
)
def test_sparse_updates_are_refused_where_there_are_none(
    executor: ExecutorConfig, facts: list[str]
) -> None:
    config = small_config(executor=executor, gpus=2, optimizer=SGDConfig(sparse=True))
    with pytest.raises(ConfigError) as refusal:
        prepare(config)
    assert all(fact in str(refusal.value) for fact in facts)
    prepare(replace(config, optimizer=SGDConfig(sparse="auto")))


def test_sparse_is_a_choice_of_three() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.sparse=maybe(.|\n)*auto, true or false"):
        prepare(small_config(optimizer=SGDConfig(sparse="maybe")))


# Neighbours.


class Kept(Watched):
    """A job that keeps its parameters."""

    parameters: Parameters

    def end(self, outcome: Outcome, model: Any) -> None:
        super().end(outcome, model)
        self.parameters = {n: value.detach().clone() for n, value in model.named_parameters()}

    @property
    def seen(self) -> list[dict[str, Any]]:
        """Every number of every evaluation but the clock's."""
        points = [asdict(point) for point in self.points]
        return [{k: v for k, v in point.items() if k != "wall_s"} for point in points]


def jobs(count: int, odd: Mapping[str, Any] | None = None, **changes: Any) -> list[Kept]:
    """Runs of different seeds; the second has whatever `odd` says."""
    made = []
    for seed in range(count):
        own = dict(odd or {}) if seed == 1 else {}
        config = small_config(**{
            "model": MODELS["mlp"], "dataset": SHORT, "seed": seed, "budget_samples": 3000,
            "eval_interval_samples": 512, "target": None, "base_lr": 0.03, **changes, **own,
        })  # fmt: skip
        made.append(Kept(config, make_plan(config, 2000, Devices(cuda=0))))
    return made


def train_together(slots: Sequence[Sequence[Kept]]) -> None:
    first = next(job for jobs in slots for job in jobs)
    dataset = load_dataset(first.config.dataset)
    engine = StackedEngine(first.config, first.plan, dataset, len(slots))
    train(slots, engine, dataset.validation, dataset.test)
    assert all(job.outcome is not None for jobs in slots for job in jobs)


def assert_same(ours: Kept, others: Kept) -> None:
    assert ours.seen == others.seen
    assert equal(ours.parameters, others.parameters)
    assert ours.outcome is not None and others.outcome is not None
    assert ours.outcome.test_auc == others.outcome.test_auc


ODD: dict[str, dict[str, Any]] = {
    "diverged": {"base_lr": 1e30},
    "reached": {"target": 0.501},
    "exhausted": {"budget_samples": 1312},
}


@cache
def usual_jobs(optimizer: str, width: int, interval: int) -> list[Kept]:
    made = jobs(width + 2, optimizer=OPTIMIZERS[optimizer], eval_interval_samples=interval)
    train_together(split(made, width))
    return made


# (an interval that is no whole number of updates: evaluations fall out of step once a slot is
# refilled)
@pytest.mark.parametrize("status", ODD)
@pytest.mark.parametrize(
    ("optimizer", "width", "interval"),
    [
        pytest.param(name, width, interval, marks=[] if quick else pytest.mark.slow)
        for name in ("momentum", "adam", "adagrad")
        for width in (2, 3, 4)
        for interval in (512, 500)
        for quick in [(name, interval) == ("momentum", 500) or (name, width) == ("adam", 3)]
    ],
)
def test_what_becomes_of_one_run_is_nothing_to_the_others(
    optimizer: str, width: int, interval: int, status: str
) -> None:
    usual = usual_jobs(optimizer, width, interval)
    unusual = jobs(
        width + 2, ODD[status], optimizer=OPTIMIZERS[optimizer], eval_interval_samples=interval
    )
    train_together(split(unusual, width))
    outcome = unusual[1].outcome
    assert outcome is not None and outcome.status == status
    assert outcome.steps < usual[1].plan.steps
    for number in range(width + 2):
        if number != 1:
            assert_same(unusual[number], usual[number])
            assert all(math.isfinite(point.loss) for point in usual[number].points)


@pytest.mark.parametrize("before", [{}, {"base_lr": 1e30}], ids=["trained", "diverged"])
@pytest.mark.parametrize("optimizer", ["momentum", "sgd", "adam", "adagrad"])
def test_a_run_does_not_depend_on_what_was_in_its_slot(
    optimizer: str, before: dict[str, Any]
) -> None:
    """What is left of a sweep that was stopped trains as it would have."""
    changes = {"optimizer": OPTIMIZERS[optimizer]}
    whole, rest = jobs(6, before, **changes), jobs(6, **changes)
    train_together(split(whole, 2))
    train_together([rest[2::2], rest[5::2]])
    for number in (2, 4, 5):
        assert_same(rest[number], whole[number])


def test_a_slot_that_never_has_a_run_is_nothing_to_the_others() -> None:
    filled, empty = jobs(3), jobs(3)
    train_together([[job] for job in filled])
    train_together([[empty[0]], [], [empty[2]]])
    for number in (0, 2):
        assert_same(empty[number], filled[number])


# Models that cannot be stacked.


class Wrapped(nn.Module):
    """A small model to be made difficult."""

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__()
        self.inner = MLP(cardinalities, numeric_fields, embedding_dim=2, hidden=[4])

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        logit: Tensor = self.inner(categorical, numeric)
        return logit


class WithBatchNorm(Wrapped):
    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields)
        self.norm = nn.BatchNorm1d(numeric_fields)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        return super().forward(categorical, self.norm(numeric))


class WithDropout(Wrapped):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        return super().forward(categorical, nn.functional.dropout(numeric, training=self.training))


class WithControlFlow(Wrapped):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        if numeric.sum() > 0:
            numeric = -numeric
        return super().forward(categorical, numeric)


class WithACountingBuffer(Wrapped):
    calls: Tensor

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(categorical, numeric / self.calls)


class WithANewBuffer(WithACountingBuffer):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return Wrapped.forward(self, categorical, numeric / self.calls)


class WithARandomBuffer(Wrapped):
    projection: Tensor

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields)
        self.register_buffer("projection", torch.randn(numeric_fields, numeric_fields))

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        return super().forward(categorical, numeric @ self.projection)


class WithFrozenParameters(Wrapped):
    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields)
        self.inner.top[0].weight.requires_grad_(False)


class WithAGraphBreak(Wrapped):
    """vmap takes it, torch.compile does not."""

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return super().forward(categorical, numeric)


def custom(module: type[nn.Module]) -> dict[str, Any]:
    return {"_target_": f"tests.test_stacked.{module.__name__}", "name": "custom"}


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="bsscale"):
        yield caplog


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (WithBatchNorm, "running_mean|in-place|inplace"),
        (WithDropout, "random"),
        (WithControlFlow, "control flow"),
        (WithACountingBuffer, "in-place operation"),
        (WithANewBuffer, "its buffers change while it trains"),
        (WithARandomBuffer, "its buffers depend on the seed"),
        (WithFrozenParameters, "some of its parameters are frozen"),
        (WithAGraphBreak, r"torch\.compile failed on it"),
    ],
)
def test_what_cannot_be_stacked_is_trained_run_by_run_and_the_reason_said(
    module: type[nn.Module], reason: str, tmp_path: Path, messages: pytest.LogCaptureFixture
) -> None:
    config = small_config(
        model=custom(module),
        dataset=SHORT,
        executor=ExecutorConfig("virtual", "cpu", compile=True),
        budget_samples=2048,
    )
    plan, dataset = prepare(config)
    specs = [
        RunSpec(replace(config, seed=seed), replace(plan, seed=seed), tmp_path / str(seed), "arm")
        for seed in range(2)
    ]
    [stack] = make_stacks([(spec.config, spec.plan) for spec in specs])
    assert (stack.training_step, stack.width) == ("compiled", 2)
    assert isinstance(make_engine(config, plan, dataset, stack), EagerEngine)
    [note] = [text for text in messages.messages if "is trained run by run: " in text]
    assert note.startswith("model=custom is trained run by run: ")
    assert re.search(reason, note)

    results = run_together(specs, dataset)
    for spec, result in zip(specs, results, strict=True):
        assert isinstance(result, RunRecord)
        assert (result.status, result.seed) == ("exhausted", spec.plan.seed)
        assert result.environment["stack_width"] == 1
        assert read_evals(spec.directory)[-1].samples == 2048
        assert (spec.directory / "model.safetensors").exists()


def test_a_compiler_that_computes_something_else_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, messages: pytest.LogCaptureFixture
) -> None:
    def miscompile(update: Callable[..., Tensor], **_: Any) -> Callable[..., Tensor]:
        return lambda categorical, numeric, label, rates: update(
            categorical, numeric, 1 - label, rates
        )

    config = small_config(
        model=custom(Wrapped),
        dataset=SHORT,
        executor=ExecutorConfig("virtual", "cpu", compile=True),
    )
    plan, dataset = prepare(config)
    [stack] = make_stacks([(config, plan)])
    monkeypatch.setattr(torch, "compile", lambda update, **_: update)
    assert isinstance(make_engine(config, plan, dataset, stack), StackedEngine)
    monkeypatch.setattr(torch, "compile", miscompile)
    assert isinstance(make_engine(config, plan, dataset, stack), EagerEngine)
    assert "run by run: torch.compile computes other gradients" in messages.messages[-1]


def test_a_model_run_by_run_is_torchs(tmp_path: Path) -> None:
    """Dropout: every run has its own random numbers, whatever ran before it."""
    config = small_config(model=custom(WithDropout), dataset=SHORT, budget_samples=2048)
    plan, dataset = prepare(config)
    runs = [(replace(config, seed=seed), replace(plan, seed=seed)) for seed in range(2)]
    engine = EagerEngine(plan, dataset)
    for run in runs:
        engine.begin(0, *run)
        advance(engine, 20)
        trained = parameters(engine)
        engine.end(0)
        assert equal(trained, by_torch(run, dataset, 20))


# What the loop asks of the engine.


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_training_losses_are_means_over_the_updates_since_the_last_call(precision: str) -> None:
    runs, dataset = six_runs(SGDConfig(), model=MODELS["mlp"], precision=precision)
    engine = stacked(runs, dataset)
    alone = [EagerEngine(plan, dataset) for _, plan in runs]
    for one, run in zip(alone, runs, strict=True):
        one.begin(0, *run)
    assert [engine.take_train_loss(slot) for slot in range(6)] == [None] * 6
    for updates in (1, 30):
        advance(engine, updates)
        for slot, one in enumerate(alone):
            advance(one, updates)
            expected = one.take_train_loss(0)
            assert engine.take_train_loss(slot) == pytest.approx(expected, rel=1e-6)
        assert engine.take_train_loss(0) is None
    # A slot's next run starts with no loss of the last one's.
    advance(engine, 5)
    engine.end(3)
    engine.begin(3, *runs[0])
    assert engine.take_train_loss(3) is None
    advance(engine, 5)
    again = EagerEngine(runs[0][1], dataset)
    again.begin(0, *runs[0])
    advance(again, 5)
    assert engine.take_train_loss(3) == pytest.approx(again.take_train_loss(0), rel=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_those_of_each_slots_module(model: str) -> None:
    runs, dataset = six_runs(SGDConfig(), model=MODELS[model], precision="fp32")
    engine = stacked(runs, dataset)
    advance(engine, 20)
    for samples in (dataset.validation, dataset.test, dataset.validation):
        scores = engine.score(samples)
        assert scores.shape == (6, len(samples)) and scores.dtype == np.float64
        inputs = torch.from_numpy(samples.categorical), torch.from_numpy(samples.numeric)
        for slot in range(6):
            with torch.no_grad():
                logits = engine.model(slot)(*inputs)
            assert np.ptp(logits.numpy()) > 0.01
            np.testing.assert_allclose(scores[slot], logits.numpy(), rtol=1e-5, atol=1e-5)


def test_a_refilled_stack_under_the_loop_gives_torchs_runs() -> None:
    """The loop, from the first evaluation to the test split, over two engines."""
    changes = {"precision": "fp64", "optimizer": AdamConfig(), "base_lr": 0.01}
    together, alone = jobs(6, **changes), jobs(6, **changes)
    train_together(split(together, 4))
    dataset = load_dataset(SHORT)
    for job in alone:
        train([[job]], EagerEngine(job.plan, dataset), dataset.validation, dataset.test)
    for ours, torchs in zip(together, alone, strict=True):
        assert relative_distance(ours.parameters, torchs.parameters) < 1e-10
        assert ours.outcome is not None and torchs.outcome is not None
        assert ours.outcome.test_auc == pytest.approx(torchs.outcome.test_auc, abs=1e-9)
        for a, b in zip(ours.points, torchs.points, strict=True):
            assert (a.step, a.lr, a.momentum) == (b.step, b.lr, b.momentum)
            assert a.auc == pytest.approx(b.auc, abs=1e-9)
            assert a.loss == pytest.approx(b.loss, rel=1e-9)
            assert (a.train_loss is None) == (b.train_loss is None)
            assert a.train_loss == (b.train_loss and pytest.approx(b.train_loss, rel=1e-9))


@pytest.mark.parametrize(("fits", "width"), [(6, 6), (2, 2), (1, 1)])
def test_a_stack_that_does_not_fit_into_memory_is_trained_in_smaller_blocks(
    fits: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small(StackedEngine):
        def __init__(self, config: Config, plan: Plan, dataset: Dataset, width: int) -> None:
            if width > fits:
                raise torch.OutOfMemoryError("it is full")
            super().__init__(config, plan, dataset, width)

    monkeypatch.setattr("bsscale.engines.stacked.StackedEngine", Small)
    config = small_config(model=MODELS["mlp"])
    plan, dataset = prepare(config)
    engine = make_engine(config, plan, dataset, Stack(tuple(range(6)), 6, "layers", ""))
    assert engine.width == width


def test_a_run_that_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> StackedEngine:
        raise torch.OutOfMemoryError("it is full")

    monkeypatch.setattr("bsscale.engines.stacked.StackedEngine", full)
    config = small_config()
    plan, dataset = prepare(config)
    with pytest.raises(ConfigError, match="does not fit"):
        make_engine(config, plan, dataset, Stack((0,), 1, "layers", ""))
