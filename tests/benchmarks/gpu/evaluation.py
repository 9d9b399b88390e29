"""Milliseconds of what happens between updates: the samples to come, scores and metrics."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from itertools import count

import torch

from bsscale.data import Dataset, Samples, load_dataset
from bsscale.engines.outputs import HostOutputs
from bsscale.engines.stacked.feed import Feed
from bsscale.engines.stacked.held_out import DeviceOutputs, HeldOut
from tests.benchmarks.bench_training import ours
from tests.benchmarks.gpu.cases import Cases, Facts, median_seconds, seconds
from tests.benchmarks.gpu.stacks import BENCH, engine_for, plan_for

TIMES = 11


def run(cases: Cases) -> None:
    runs, rows = (3, 3000) if cases.small else (15, 20_000)
    dataset = _with_validation(rows)
    cases.measure(f"score R={runs}, {rows} rows", partial(_scores, cases, dataset, runs))
    cases.measure(f"metrics R={runs}, {rows} rows", partial(_metrics, cases, dataset, runs))
    cases.measure(f"feed R={runs}", partial(_feed, cases, ours.load(), runs, 64, "rows in memory"))
    synthetic = load_dataset({"_target_": "bsscale.data.synthetic.load", "name": "synthetic"})
    cases.measure(
        f"feed R={runs}, drawn", partial(_feed, cases, synthetic, runs, 64, "drawn on the host")
    )


def _with_validation(rows: int) -> Dataset:
    dataset = ours.load()
    stream = dataset.train
    held_out: Samples = stream.read(0, 0, rows)
    return Dataset(dataset.schema, stream, held_out, held_out)


def _ms(cases: Cases, work: Callable[[], object], times: int = TIMES) -> float:
    return 1e3 * median_seconds(cases.device, work, times)


def _scores(cases: Cases, dataset: Dataset, runs: int) -> Facts:
    """An evaluation of all runs, its parts, and what else happens there."""
    plan = plan_for(cases.device, dataset, **BENCH)
    rows = dataset.validation
    with engine_for(plan, dataset, runs) as engine:

        def evaluate() -> list[dict[str, float | None]]:
            outputs = engine.evaluate(rows)
            return [outputs.metrics(slot, plan.objective) for slot in range(runs)]

        def take_losses() -> None:
            for slot in range(runs):
                engine.take_train_loss(slot)

        losses_s = []
        for _ in range(TIMES):
            engine.advance(1)
            losses_s.append(seconds(cases.device, take_losses))
        return {
            "evaluate_ms": _ms(cases, evaluate),
            "score_ms": _ms(cases, lambda: engine.score(rows)),
            "train_loss_ms": 1e3 * statistics.median(losses_s),
            "state_ms": _ms(cases, lambda: [engine.state(slot) for slot in range(runs)]),
        }


def _metrics(cases: Cases, dataset: Dataset, runs: int) -> Facts:
    """Metrics of all runs on the device and on the host; the AUC is exact on both."""
    plan = plan_for(cases.device, dataset, **BENCH)
    rows, objective = dataset.validation, plan.objective
    generator = torch.Generator().manual_seed(0)
    # Few different numbers, so that there are ties.
    outputs = torch.randint(-500, 500, (runs, len(rows)), generator=generator) / 100.0
    on_device = outputs.to(cases.device, torch.float32)
    held_out = HeldOut(rows, cases.device, torch.float32, objective)

    def by_host() -> list[dict[str, float | None]]:
        judged = HostOutputs(rows.label, on_device.to(torch.float64).cpu().numpy())
        return [judged.metrics(slot, objective) for slot in range(runs)]

    def by_device() -> list[dict[str, float | None]]:
        judged = DeviceOutputs(held_out, on_device)
        return [judged.metrics(slot, objective) for slot in range(runs)]

    found, expected = by_device(), by_host()
    differences = {
        name: max(
            abs((a[name] or 0.0) - (b[name] or 0.0)) for a, b in zip(found, expected, strict=True)
        )
        for name in objective.metrics
    }
    return {
        "ok": differences["auc"] == 0.0 and max(differences.values()) < 1e-6,
        "differences": differences,
        "on_device_ms": _ms(cases, by_device),
        "on_host_ms": _ms(cases, by_host),
    }


def _feed(cases: Cases, dataset: Dataset, runs: int, batch: int, what: str) -> Facts:
    """The samples of the next updates of all runs, on the device; one after the other, or ahead."""
    updates = 16 if cases.small else 256
    facts: Facts = {"samples": what, "updates": updates}
    for name, ahead in (("read_ms", 0), ("ahead_ms", updates)):
        feed = Feed(dataset.train, dataset.schema, runs, batch, cases.device, torch.float32, ahead)
        firsts = count(0, updates)

        def read(feed: Feed = feed, firsts: count[int] = firsts) -> None:
            first = next(firsts)
            feed.batches(feed.inputs({slot: (slot, first) for slot in range(runs)}, updates))

        try:
            facts[name] = _ms(cases, read, 2 if cases.small else 2 * TIMES)
        finally:
            feed.close()
    return facts
