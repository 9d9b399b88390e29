"""What the engine does on CUDA, on an emulated device: the numbers are those of the CPU.

BSSCALE_TEST_GRAPHS=all takes every model with every optimizer.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bsscale.data import Dataset, load_dataset
from bsscale.engines.memory import is_out_of_memory
from bsscale.engines.stacked import StackedEngine
from bsscale.engines.stacked.engine import MOST_UPDATES
from bsscale.engines.stacked.feed import Batches, Feed
from bsscale.engines.stacked.graphs import UPDATES, _Graph
from bsscale.engines.stacked.steps import LayersStep
from bsscale.models import build_model
from bsscale.objectives.torch_form import MetricsOfRuns
from bsscale.optimizers import AdamConfig, AdamWConfig, OptimizerConfig, SGDConfig
from bsscale.optimizers.optimizer import SPARSE_ROWS
from bsscale.planning.plan import Plan
from bsscale.planning.stacks import Stack
from bsscale.schedules.options.scaling import CowClipRule
from bsscale.training.run import make_engine
from tests.engines.accelerator import Graph, Kernels, SumsByShape, use_accelerator
from tests.engines.runs import KINDS, OPTIMIZERS, SHORT, short_plan
from tests.helpers import MODELS, changed

WIDTH = 3
FEW: dict[str, Any] = {**SHORT, "validation_samples": 301, "test_samples": 199}
# Large enough for updates of touched rows, and for norms of these.
LARGE = {**FEW, "categorical_fields": 2, "cardinality": SPARSE_ROWS}
CLIPPED = {"clip_grad_norm": 0.15, "dataset": LARGE}
AVERAGED = {"ema_half_life_samples": 128}
# (so low a bound that most rows are clipped)
ROWS_CLIPPED = {"cowclip": 0.01, "scaling": CowClipRule(), "gpus": 2}
CUTS = (21, 5, 16)
# Model, optimizer, whether it is sparse, other options.
CASES: list[tuple[str, str, bool, dict[str, Any]]] = [
    ("mlp", "momentum", False, {}),
    ("mlp", "adam", True, CLIPPED),
    ("mlp", "lamb", False, {"clip_grad_norm": 0.15}),
    ("dlrm", "adamw", False, {}),
    ("dlrm", "nesterov decayed", True, CLIPPED),
    ("deepfm", "adagrad", True, CLIPPED),
    ("deepfm", "momentum", False, {"precision": "fp64"}),
    ("logistic", "sgd", False, {}),
    ("mlp", "momentum", False, AVERAGED),
    ("dlrm", "adam decayed", False, ROWS_CLIPPED),
    ("deepfm", "adagrad decayed", True, {**ROWS_CLIPPED, **AVERAGED, "dataset": LARGE}),
]
if os.environ.get("BSSCALE_TEST_GRAPHS") == "all":
    CASES = [
        (model, optimizer, sparse, changes)
        for model in MODELS
        for optimizer in OPTIMIZERS
        for sparse in (False, True)
        for changes in ({}, CLIPPED, AVERAGED, ROWS_CLIPPED)
        if OPTIMIZERS[optimizer].elementwise or not sparse
    ]


@functools.cache
def dataset_of(arguments: str) -> Dataset:
    return load_dataset(json.loads(arguments))


def prepared(
    model: str, optimizer: OptimizerConfig, sparse: bool = False, **changes: Any
) -> tuple[Plan, Dataset]:
    if sparse:
        optimizer = replace(optimizer, sparse=True)
    dataset = changes.setdefault("dataset", FEW)
    plan = short_plan(
        model=MODELS[model], optimizer=optimizer, base_lr=0.01, budget_samples=6400, **changes
    )
    return plan, dataset_of(json.dumps(dataset))


def trained(plan: Plan, dataset: Dataset, cuts: tuple[int, ...] = CUTS) -> list[Any]:
    """Every number that comes out of an engine, of runs that begin and end at different times."""
    engine = StackedEngine(plan, dataset, WIDTH)
    for slot in range(WIDTH):
        engine.begin(slot, changed(plan, seed=slot))
    numbers: list[Any] = []
    for number, updates in enumerate(cuts):
        engine.advance(updates)
        if number == 0:
            engine.end(1)
        if number == 1:
            engine.begin(1, changed(plan, seed=7))
        live = [0, 2] if number == 0 else [0, 1, 2]
        numbers.append(engine.score(dataset.validation)[live])
        outputs = engine.evaluate(dataset.validation)
        numbers += [
            outputs.value(slot, plan.objective, plan.objective.metric("auc")) for slot in live
        ]
        numbers += [engine.take_train_loss(slot) for slot in live]
    numbers += [array for slot in range(WIDTH) for array in engine.state(slot).values()]
    engine.close()
    return numbers


@pytest.mark.parametrize(
    ("model", "optimizer", "sparse", "changes"),
    CASES,
    ids=[
        f"{m} {o}{' sparse' * s}{' clipped' * (c is CLIPPED)}{' cowclip' * ('cowclip' in c)}"
        f"{' averaged' * ('ema_half_life_samples' in c)}"
        for m, o, s, c in CASES
    ],
)
def test_graphs_train_the_same_numbers(
    model: str,
    optimizer: str,
    sparse: bool,
    changes: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, dataset = prepared(model, OPTIMIZERS[optimizer], sparse, **changes)
    expected = trained(plan, dataset)
    use_accelerator(monkeypatch)
    found = trained(plan, dataset)
    # Blocks of 16, and what is left one by one.
    assert Graph.replays == sum(n // UPDATES + n % UPDATES for n in CUTS)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("width", [1, 3])
def test_training_losses_do_not_depend_on_the_cuts(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(a device adds in an order that depends on the shape)"""
    use_accelerator(monkeypatch)
    plan, dataset = prepared("logistic", SGDConfig())
    losses = set()
    for cuts in ((48,), (21, 5, 16, 6), (1, 31, 16)):
        engine = StackedEngine(plan, dataset, width)
        for slot in range(width):
            engine.begin(slot, changed(plan, seed=slot))
        with SumsByShape():
            for updates in cuts:
                engine.advance(updates)
            losses.add(tuple(engine.take_train_loss(slot) for slot in range(width)))
        engine.close()
    assert len(losses) == 1


def test_without_graphs_training_goes_on_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plan, dataset = prepared("mlp", AdamConfig())
    expected = trained(plan, dataset)
    use_accelerator(monkeypatch)

    class Failing:
        """As CUDA: the end of the capture raises over the error that invalidated it."""

        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            try:
                raise RuntimeError("CUBLAS_STATUS_NOT_INITIALIZED")
            except RuntimeError:
                raise RuntimeError("CUDA error: previous error during capture")  # noqa: B904

    monkeypatch.setattr(torch.cuda, "graph", Failing)
    with caplog.at_level(logging.WARNING):
        found = trained(plan, dataset)
    assert Graph.replays == 0
    [record] = caplog.records
    assert "without CUDA graphs" in record.message and "NOT_INITIALIZED" in record.message
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_errors_of_a_full_device() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("full"))
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"))
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_out_of_memory(OSError("the shop is out of memory"))
    masking = RuntimeError("CUDA error: previous error during capture")
    masking.__context__ = torch.OutOfMemoryError("full")
    assert is_out_of_memory(masking)


@pytest.mark.parametrize("where", ["capture", "evaluation", "samples"])
def test_what_does_not_fit_later_is_found_before_training(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stacks of more than two runs do not fit; the engine has half of six, and half of three."""
    use_accelerator(monkeypatch)
    plan, dataset = prepared("logistic", SGDConfig())

    def fails(width: int, here: bool) -> None:
        if width > 2 and here:
            raise RuntimeError("CUDA error: out of memory")

    if where == "capture":
        take = _Graph.__init__

        def captured(self: _Graph, updates: Any, inputs: list[torch.Tensor], *pool: Any) -> None:
            fails(inputs[-1].shape[-1], len(inputs[-1]) == UPDATES)
            take(self, updates, inputs, *pool)

        monkeypatch.setattr(_Graph, "__init__", captured)
    elif where == "evaluation":
        judge = MetricsOfRuns.__call__

        def judged(self: MetricsOfRuns, outputs: torch.Tensor) -> Any:
            fails(len(outputs), outputs.shape[1] == len(dataset.test))
            return judge(self, outputs)

        monkeypatch.setattr(MetricsOfRuns, "__call__", judged)
    else:
        prepare = Feed._prepare

        def read(self: Feed, positions: Any, updates: int) -> Any:
            fails(self._width, updates > UPDATES)
            return prepare(self, positions, updates)

        monkeypatch.setattr(Feed, "_prepare", read)
    engine = make_engine(plan, dataset, Stack(tuple(range(6)), 6, "layers", ""))
    assert engine.width == 2
    engine.close()


def test_many_samples_are_gathered_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole blocks, and never more bytes than planned, whatever a sample has."""
    use_accelerator(monkeypatch)
    plan, dataset = prepared("logistic", SGDConfig())
    assert plan.global_batch == 32
    for width, expected in ((1, MOST_UPDATES), (200, 160)):
        engine = StackedEngine(plan, dataset, width)
        assert engine.updates_at_once == expected
        engine.close()


# Kernels of one update of all runs. A change that adds some must say so; on CUDA each takes at
# least two microseconds, and there every forward product has one more, which copies its bias.
BUDGET = {
    ("mlp", "momentum"): 31,
    ("mlp", "adam"): 45,
    ("dlrm", "momentum"): 52,
    ("dlrm", "adam"): 66,
    ("deepfm", "momentum"): 54,
    ("logistic", "momentum"): 17,
}


@pytest.mark.parametrize(("model", "optimizer"), BUDGET)
def test_an_update_starts_no_more_kernels_than_planned(model: str, optimizer: str) -> None:
    plan, dataset = prepared(model, OPTIMIZERS[optimizer])
    step = LayersStep(
        build_model(plan.config.model, dataset.schema),
        WIDTH,
        plan.objective,
        plan.groups,
        torch.device("cpu"),
        torch.float32,
    )
    samples = dataset.train.read(0, 0, 32)
    one = Batches.of(samples, torch.device("cpu"), torch.float32)
    given = [each for each in vars(one).values() if each is not None]
    batch = Batches(*(torch.stack([each] * WIDTH) for each in given))
    zeros = np.zeros((1, 1, WIDTH))
    of_update = step.updates.coefficients(zeros, zeros, zeros[0].astype(int))[0]
    rates = torch.from_numpy(of_update).float()
    with torch.no_grad(), Kernels() as kernels:
        step.update(batch, rates)
    assert len(kernels.names) == BUDGET[model, optimizer], sorted(kernels.names)


@pytest.mark.parametrize("clip", [None, 0.15])
@pytest.mark.parametrize("optimizer", KINDS)
@pytest.mark.parametrize("model", MODELS)
def test_an_update_needs_no_number_of_the_device(
    model: str, optimizer: str, clip: float | None
) -> None:
    """On torch's meta device tensors have no values, and other devices' do not mix with them."""
    for sparse in (False, True):
        if sparse and not OPTIMIZERS[optimizer].elementwise:
            continue
        plan, dataset = prepared(
            model, OPTIMIZERS[optimizer], sparse, clip_grad_norm=clip, dataset=LARGE
        )
        meta = torch.device("meta")
        module = build_model(plan.config.model, dataset.schema)
        step = LayersStep(module, WIDTH, plan.objective, plan.groups, meta, torch.float32, clip)
        fields, numbers = len(dataset.schema.categorical), len(dataset.schema.numeric)
        batch = Batches(
            torch.empty(WIDTH, 8, fields, dtype=torch.int32, device=meta),
            torch.empty(WIDTH, 8, numbers, device=meta),
            torch.empty(WIDTH, 8, device=meta),
        )
        zeros = np.zeros((1, 1, WIDTH))
        count = step.updates.coefficients(zeros, zeros, zeros[0].astype(int)).shape[1]
        with torch.no_grad():
            assert step.update(batch, torch.empty(count, WIDTH, device=meta)).shape == (WIDTH, 8)
            assert step.score(batch[0]).shape == (WIDTH, 8)


def test_torchs_own_advice_while_it_compiles_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """(float32 on CUDA: Inductor recommends TensorFloat32; warnings are errors in this test)"""

    advice = ["TensorFloat32 tensor cores for float32 matrix multiplication available"]

    def compile_(function: Any, **_: object) -> Any:
        def warned(*arguments: Any) -> Any:
            if advice:  # (at the first call, which compiles)
                warnings.warn(advice.pop(), stacklevel=1)
            return function(*arguments)

        return warned

    monkeypatch.setattr(torch, "compile", compile_)
    plan, dataset = prepared("mlp", AdamWConfig())
    with warnings.catch_warnings(record=True):
        warnings.filterwarnings("error", "", UserWarning)
        StackedEngine(replace(plan, training_step="compiled"), dataset, 2)
    assert not advice
