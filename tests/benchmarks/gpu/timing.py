"""Microseconds of an update: what the study of many small runs is made of."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from torch.profiler import ProfilerActivity, profile

from bsscale.engines.eager import EagerEngine
from bsscale.engines.engine import Engine
from bsscale.engines.stacked.graphs import UPDATES
from bsscale.optimizers import AdamConfig
from tests.benchmarks.bench_training import ours
from tests.benchmarks.gpu.cases import Cases, Facts, seconds, synchronize
from tests.benchmarks.gpu.stacks import BENCH, Taken, engine_for, plan_for
from tests.helpers import changed

MOST_S = 2.0
# 15 runs should take little longer than one, and far less than 15 one after the other.
MOST_OF_ONE_RUN = 1.5
LEAST_OF_ONE_BY_ONE = 40.0
# The most important first, because the time may be up.
SIZES = ((15, 64), (1, 64), (64, 64), (15, 512), (15, 4096), (1, 512), (1, 4096), (64, 512),
         (64, 4096))  # fmt: skip
SMALL_SIZES = ((3, 64), (1, 64))


def run(cases: Cases) -> None:
    sizes = SMALL_SIZES if cases.small else SIZES
    many, one = sizes[0][0], sizes[1]
    found: dict[Any, Facts] = {}
    for runs, batch in sizes[:2]:
        found[runs, batch] = _measured(cases, f"R={runs} B={batch}", runs, batch)
    eager = cases.measure("eager, one run, B=64", partial(_eager, cases))
    _goals(cases, found.get((many, 64), {}), found.get(one, {}), eager, many)
    if not cases.small:
        cases.measure("updates alone R=15 B=64", partial(_updates_alone, cases, 15, 64))
    cases.measure(f"profile R={many} B=64", partial(_profile, cases, many))
    # Evaluations cut the updates: every 16, 8 and 4 at gpus=8, 16 and 32.
    for at_once in (8, 1) if cases.small else (16, 8, 4, 1):
        _measured(cases, f"R={many} B=64 at once={at_once}", many, 64, at_once)
    for runs, batch in sizes[2:]:
        _measured(cases, f"R={runs} B={batch}", runs, batch)
    adam = {"optimizer": AdamConfig()}
    _measured(cases, f"R={many} B=64 adam", many, 64, **adam)
    if cases.small:
        return
    for runs, batch in ((15, 4096), (1, 4096), (15, 512)):
        cases.measure(
            f"updates alone R={runs} B={batch}", partial(_updates_alone, cases, runs, batch)
        )
    for runs, batch in ((15, 64), (15, 4096)):
        _measured(cases, f"R={runs} B={batch} compiled", runs, batch, step="compiled")


def _goals(cases: Cases, stack: Facts, one: Facts, eager: Facts, many: int) -> None:
    us = [facts.get("update_us") for facts in (stack, one, eager)]
    ratio = us[0] / us[1] if us[0] and us[1] else None
    gain = many * us[2] / us[0] if us[0] and us[2] else None
    cases.compare(
        "15 runs against one", f"the time of {many} runs / one", ratio, MOST_OF_ONE_RUN, most=True
    )
    what = f"the time of {many} runs by torch, one by one / together"
    cases.compare("15 runs against 15 by torch", what, gain, LEAST_OF_ONE_BY_ONE, most=False)


def _measured(
    cases: Cases,
    name: str,
    runs: int,
    batch: int,
    at_once: int | None = None,
    step: str = "layers",
    **changes: Any,
) -> Facts:
    def case() -> Facts:
        dataset = ours.load()
        plan = plan_for(cases.device, dataset, **{**BENCH, "micro_batch": batch, **changes})
        started = time.perf_counter()
        with engine_for(plan, dataset, runs, step) as engine:
            synchronize(cases.device)
            built_s = time.perf_counter() - started
            times = timed(cases, engine, at_once)
        per_run = times["update_us"] / runs
        return {"runs": runs, "batch": batch, "build_s": built_s, **times, "us_of_a_run": per_run}

    return cases.measure(name, case)


def timed(cases: Cases, engine: Engine, at_once: int | None = None) -> Facts:
    """Wall time of an update, the feed included: medians of a few dozen calls of `advance`."""
    updates = min(at_once or engine.updates_at_once, engine.updates_at_once)
    if cases.small:
        updates = min(updates, 16)
    calls = max(1, (16 if cases.small else 64) // updates)  # (one may be too short to be timed)

    def advance() -> None:
        for _ in range(calls):
            engine.advance(updates)

    times = _repeated(cases, advance, 3 if cases.small else 30)
    each = [1e6 * s / updates / calls for s in times]
    return {"at_once": updates, "update_us": statistics.median(each), "least_us": min(each),
            "most_us": max(each), "times": len(each)}  # fmt: skip


def _repeated(cases: Cases, work: Callable[[], None], most: int) -> list[float]:
    """Seconds of each repetition, two not counted; fewer than `most` if they take long."""
    for _ in range(2):
        work()
    ends = time.perf_counter() + MOST_S
    times = []
    while len(times) < most and (len(times) < 3 or time.perf_counter() < ends):
        times.append(seconds(cases.device, work))
    return times


def _eager(cases: Cases) -> Facts:
    """One run by torch's autograd and optimizer."""
    dataset = ours.load()
    plan = plan_for(cases.device, dataset, **BENCH)
    engine = EagerEngine(plan, dataset)
    engine.begin(0, changed(plan, seed=0))
    return timed(cases, engine)


def _updates_alone(cases: Cases, runs: int, batch: int) -> Facts:
    """Updates whose samples are on the device already: launched one by one, and as graphs."""
    dataset = ours.load()
    plan = plan_for(cases.device, dataset, **{**BENCH, "micro_batch": batch})
    taken = Taken.of(plan, dataset, runs, UPDATES)
    blocks = taken.captured()

    def graphed() -> None:
        blocks.take(taken.inputs)

    def launched() -> None:
        taken.take(taken.inputs)

    return {
        name: 1e6 * statistics.median(_repeated(cases, work, 100)) / UPDATES
        for name, work in (("graph_us", graphed), ("launched_us", launched))
    }


def _profile(cases: Cases, runs: int) -> Facts:
    """Which kernels an update consists of, and how long the device is idle between them."""
    dataset = ours.load()
    cuda = cases.device.type == "cuda"
    kind = ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU
    with engine_for(plan_for(cases.device, dataset, **BENCH), dataset, runs) as engine:
        updates = min(2 * UPDATES, engine.updates_at_once)
        engine.advance(updates)
        elapsed_s = seconds(cases.device, lambda: engine.advance(updates))
        with profile(activities=[kind]) as profiler:
            engine.advance(updates)
            synchronize(cases.device)
    averages = profiler.key_averages()
    time_us = [e.self_device_time_total if cuda else e.self_cpu_time_total for e in averages]
    order = "self_device_time_total" if cuda else "self_cpu_time_total"
    return {
        "kernels": sum(event.count for event in averages) / updates,
        "kernels_us": sum(time_us) / updates,
        "elapsed_us": 1e6 * elapsed_s / updates,
        "table": averages.table(sort_by=order, row_limit=25, max_name_column_width=60),
    }
