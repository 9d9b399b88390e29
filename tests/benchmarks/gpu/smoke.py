"""Whether the numbers are right, from the simplest case on: the first that fails tells most."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from bsscale.data import Dataset, load_dataset
from bsscale.engines.stacked.device_use import DEVICE_USE
from bsscale.engines.stacked.feed import Batches
from bsscale.engines.stacked.graphs import UPDATES
from bsscale.engines.stacked.rows import add_rows_sorted
from bsscale.optimizers import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    LambConfig,
    OptimizerConfig,
    SGDConfig,
)
from bsscale.optimizers.optimizer import SPARSE_ROWS
from bsscale.records.checkpoints import Checkpoint
from tests.benchmarks.bench_training import ours
from tests.benchmarks.gpu.cases import Cases, Facts, seconds, synchronize
from tests.benchmarks.gpu.stacks import (
    BENCH,
    Taken,
    engine_for,
    plan_for,
    relative_difference,
    values_of,
)
from tests.engines.accelerator import use_accelerator
from tests.helpers import MODELS, SYNTHETIC, changed

RUNS = 3
# In float64; sums on a GPU have another order than on a CPU.
SAME = 1e-8
CPU = torch.device("cpu")
TABLES = {**SYNTHETIC, "categorical_fields": 2, "cardinality": SPARSE_ROWS}
# With its ε of 1e-10 a gradient that is nothing but rounding moves a parameter.
ADAGRAD = AdagradConfig(eps=1e-5)


def run(cases: Cases) -> None:
    dataset, tables = load_dataset(SYNTHETIC), load_dataset(TABLES)
    simple = [(model, opt) for opt in (SGDConfig(), AdamConfig()) for model in MODELS]
    for model, optimizer in simple:
        case = partial(_by_layers, cases, dataset, model=MODELS[model], optimizer=optimizer)
        cases.measure(f"layers {model} {optimizer.name}", case)
    # (emulated graphs are slow)
    for model, optimizer in simple[:1] if cases.small else simple:
        case = partial(_by_graph, cases, dataset, model=MODELS[model], optimizer=optimizer)
        cases.measure(f"graph {model} {optimizer.name}", case)
    clipped = {"model": MODELS["mlp"], "clip_grad_norm": 0.15, "dataset": TABLES}
    further: list[OptimizerConfig] = [
        SGDConfig(sparse=True), AdamWConfig(sparse=True), ADAGRAD, LambConfig()
    ]  # fmt: skip
    for optimizer in further:
        name = f"mlp {optimizer.name} clipped, large tables, sparse={optimizer.sparse}"
        case = partial(_by_layers, cases, tables, optimizer=optimizer, **clipped)
        cases.measure(f"layers {name}", case)
        if optimizer is further[0] or not cases.small:
            case = partial(_by_graph, cases, tables, optimizer=optimizer, **clipped)
            cases.measure(f"graph {name}", case)
    cases.measure("fp32 products", partial(_products, cases))
    cases.measure("fp32 training", partial(_single_precision, cases, dataset))
    # Twice the most that the engine asks for; and as many as would be convenient.
    for runs, rows in ((15, 2 * DEVICE_USE["cuda"].scored_rows), (15, 1 << 19), (1, 1 << 19)):
        rows = 1 << 12 if cases.small else rows
        case = partial(_many_scores, cases, dataset, runs, rows // runs)
        cases.measure(f"score dlrm R={runs}, {rows} rows", case)
    cases.measure("the same run twice", partial(_twice, cases))
    cases.measure("two ways to add rows", partial(_added_rows, cases))
    cases.measure("checkpoint", partial(_checkpoint, cases, dataset))
    cases.measure("memory R=64 B=8192", partial(_memory, cases))


def _agree(difference: float, limit: float) -> Facts:
    return {"ok": difference <= limit, "relative_difference": difference, "limit": limit}


def _by_layers(cases: Cases, data: Dataset, **changes: Any) -> Facts:
    """Against the CPU, update by update; no update may wait for the GPU."""
    updates = 4 if cases.small else UPDATES
    found, expected = (
        Taken.of(plan_for(device, data, precision="fp64", **changes), data, RUNS, updates)
        for device in (cases.device, CPU)
    )
    found.one_by_one()  # libraries may wait at their first call
    found.reset()
    return _agree(relative_difference(found.one_by_one(checked=True), expected.one_by_one()), SAME)


def _by_graph(cases: Cases, data: Dataset, **changes: Any) -> Facts:
    """Against the same updates without a graph, on the same device: whole blocks, and a rest."""
    plan = plan_for(cases.device, data, precision="fp64", **changes)
    updates = UPDATES + (2 if cases.small else UPDATES + 5)
    taken = Taken.of(plan, data, RUNS, updates)
    expected = taken.one_by_one()
    taken.reset()
    with pytest.MonkeyPatch.context() as patch:
        if cases.small:  # (graphs are emulated)
            use_accelerator(patch)
        found = taken.graphed(updates)
    return _agree(relative_difference(found, expected), SAME)


def _products(cases: Cases) -> Facts:
    """Whether products of float32 are computed as such: TF32 has a relative error near 3e-4."""
    a, b = torch.randn(2, 512, 512, generator=torch.Generator().manual_seed(0))
    found = (a.to(cases.device) @ b.to(cases.device)).double().cpu()
    exact = a.double() @ b.double()
    error = float((found - exact).norm() / exact.norm())
    return {**_agree(error, 1e-5), "tf32": error > 1e-5}


def _single_precision(cases: Cases, dataset: Dataset) -> Facts:
    """A float32 run on the device against a float64 run on the CPU."""
    found, exact = (
        Taken.of(
            plan_for(device, dataset, precision=precision, model=MODELS["dlrm"]),
            dataset, RUNS, 2 * UPDATES,
        ).one_by_one()
        for device, precision in ((cases.device, "fp32"), (CPU, "fp64"))
    )  # fmt: skip
    return _agree(relative_difference(found, exact), 1e-5)


@torch.no_grad()
def _many_scores(cases: Cases, dataset: Dataset, runs: int, rows: int) -> Facts:
    """DLRM multiplies a small matrix for each row of each run: there may be too many of them."""
    plan = plan_for(cases.device, dataset, precision="fp32", model=MODELS["dlrm"])
    taken = Taken.of(plan, dataset, runs, 1)
    samples = dataset.train.read(0, 0, rows)
    batch = Batches.of(samples, cases.device, torch.float32)
    together = taken.step.score(batch)
    parts = [taken.step.score(batch[first : first + 1024]) for first in range(0, rows, 1024)]
    expected = torch.cat(parts, dim=1)
    difference = float((together - expected).abs().max() / expected.abs().max())
    return {**_agree(difference, 1e-5), "rows": rows * runs}


def _twice(cases: Cases) -> Facts:
    """Two runs of the same seed, which differ if the order of additions does."""
    dataset = ours.load()
    plan = plan_for(cases.device, dataset, **BENCH)
    found = []
    for _ in range(2):
        with engine_for(plan, dataset, RUNS) as engine:
            for _ in range(2):
                engine.advance(10 if cases.small else engine.updates_at_once)
            found.append(values_of(engine))
    difference = relative_difference(*found)
    return {"ok": difference == 0.0, "relative_difference": difference}


def _added_rows(cases: Cases) -> Facts:
    """Gradients of an embedding: index_add_ and the engine's way, their order and their time."""
    generator = torch.Generator().manual_seed(0)
    runs, rows = 15, 64 * 10
    table = torch.zeros(runs * 10_000, 8, device=cases.device)
    gradient = torch.randn(runs * rows, 8, generator=generator).to(cases.device)
    # Few rows are frequent, as in data: they are in a batch many times.
    drawn = (10_000 * torch.rand(runs * rows, generator=generator) ** 3).long()
    index = (drawn + torch.arange(runs).repeat_interleave(rows) * 10_000).to(cases.device)
    ways = {
        "index_add": lambda: table.index_add_(0, index, gradient),
        "sorted": lambda: add_rows_sorted(table, index, gradient),
    }
    facts: Facts = {}
    for name, way in ways.items():
        results = []
        for _ in range(5):
            table.zero_()
            way()
            results.append(table.clone())
        facts[f"{name}_same_bits"] = all(torch.equal(each, results[0]) for each in results)
        facts[f"{name}_us"] = 1e6 * seconds(cases.device, way, times=10 if cases.small else 200)
    return facts


def _checkpoint(cases: Cases, dataset: Dataset) -> Facts:
    """What `state` gives, `begin` takes: the run goes on as it would have."""
    plan = plan_for(
        cases.device, dataset, precision="fp64", model=MODELS["mlp"], optimizer=AdamConfig()
    )
    with engine_for(plan, dataset, RUNS) as engine:
        engine.advance(UPDATES)
        # (on a CPU, what `state` gives is the memory of the engine)
        states = [{k: v.copy() for k, v in engine.state(slot).items()} for slot in range(RUNS)]
        engine.advance(UPDATES + 1)
        expected = values_of(engine)
        for slot, state in enumerate(states):
            engine.end(slot)
            checkpoint = Checkpoint(UPDATES, state, (), 0.0, 0.0, {})
            engine.begin(slot, changed(plan, seed=slot), checkpoint)
        engine.advance(UPDATES + 1)
        return _agree(relative_difference(values_of(engine), expected), SAME)


def _memory(cases: Cases) -> Facts:
    """The memory of a wide stack of a large batch."""
    dataset = ours.load()
    runs, batch = (4, 512) if cases.small else (64, 8192)
    plan = plan_for(cases.device, dataset, **{**BENCH, "micro_batch": batch})
    if cases.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with engine_for(plan, dataset, runs) as engine:
        engine.advance(engine.updates_at_once)
        synchronize(cases.device)
        at_once = engine.updates_at_once
    peak = torch.cuda.max_memory_allocated() if cases.device.type == "cuda" else 0
    return {"runs": runs, "batch": batch, "updates_at_once": at_once, "peak_gib": peak / 2**30}
