"""The CPU time that measuring the gradient noise scale adds to a run.

    python -m tests.benchmarks.noise_scale_cost --repeats 7

Runs of DLRM on flights with noise_scale=false and true take turns in one process on one core; a
pair of them has the same seed, and its order changes from pair to pair. Printed are the windows and
their share of the budget's micro-batches, the medians of the CPU time of both, and what is added in
per cent, measured in two ways: `pairs` is the median of the difference over pairs, which other work
on the machine disturbs; `measured` is the median of the time inside the measurements over that of
the rest of the same run. `eager` trains by torch's autograd (the steps of a model, an optimizer or
a precision that has no stacked form).

"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bsscale.config import Config, ExecutorOptions, TaskOptions, TrackerOptions
from bsscale.data import Dataset, load_dataset
from bsscale.engines.eager import EagerEngine
from bsscale.engines.engine import Engine
from bsscale.engines.squared_norms import SquaredNorms
from bsscale.engines.stacked import StackedEngine
from bsscale.optimizers import OPTIMIZERS
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.schedules.options import FixedConfig
from bsscale.training.loop import train
from tests.helpers import Watched

FLIGHTS: dict[str, Any] = {"_target_": "bsscale.data.flights.load", "name": "flights"}
DLRM: dict[str, Any] = {"_target_": "bsscale.models.DLRM", "name": "dlrm"}


def planned(
    dataset: Dataset, kind: str, optimizer: str, gpus: int, passes: float, on: bool
) -> Plan:
    """A run of the shipped model with its default options."""
    config = Config(
        task=TaskOptions("train"), dataset=FLIGHTS, model=DLRM, optimizer=OPTIMIZERS[optimizer](),
        schedule=FixedConfig(), executor=ExecutorOptions("virtual", "cpu"),
        tracker=TrackerOptions("none"), gpus=gpus, base_lr=0.01, budget_passes=passes,
        noise_scale=on,
    )  # fmt: skip
    plan = make_plan(config, dataset.train.samples_per_pass, Devices(cuda=0))
    return replace(plan.with_target(None, "none: a benchmark"), training_step=kind)


def cpu_s(plan: Plan, dataset: Dataset, kind: str) -> tuple[float, float]:
    """The CPU time of a run, evaluations and beginning included, and that of its measurements."""
    begun = time.process_time()
    engine: Engine = (
        EagerEngine(plan, dataset) if kind == "eager" else StackedEngine(plan, dataset, 1)
    )
    job, measure, spent = Watched(plan), engine.squared_norms, [0.0]

    def measured(slot: int) -> SquaredNorms:
        before = time.process_time()
        norms = measure(slot)
        spent[0] += time.process_time() - before
        return norms

    engine.squared_norms = measured  # type: ignore[method-assign]
    train([[job]], engine, dataset.validation, dataset.test)
    if job.error is not None:
        raise job.error
    return time.process_time() - begun, spent[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--passes", type=float, default=2.0)
    parser.add_argument("--kinds", nargs="*", default=["layers", "eager"])
    parser.add_argument("--optimizers", nargs="*", default=["sgd", "adam"])
    parser.add_argument("--gpus", nargs="*", type=int, default=[1, 8, 64])
    options = parser.parse_args(arguments)
    dataset = load_dataset(FLIGHTS)
    print("step    optimizer  GPUs  windows  micro-batches  without     with   pairs  measured")
    for kind in options.kinds:
        for optimizer in options.optimizers:
            for gpus in options.gpus:
                plans = [
                    planned(dataset, kind, optimizer, gpus, options.passes, on)
                    for on in (False, True)
                ]
                cpu_s(plans[1], dataset, kind)  # (the first run of a kind is slower)
                times: list[list[float]] = [[], []]
                shares = []
                for repeat in range(options.repeats):
                    for on in (0, 1) if repeat % 2 else (1, 0):
                        total, inside = cpu_s(plans[on], dataset, kind)
                        times[on].append(total)
                        if on:
                            shares.append(inside / (total - inside))
                more = [b / a - 1 for a, b in zip(*times, strict=True)]
                windows = len(plans[1].noise_scale_steps)
                share = 8 * windows * plans[1].config.micro_batch / plans[1].budget_samples
                print(
                    f"{kind:6}  {optimizer:9}  {gpus:4}  {windows:7}  {100 * share:12.1f}%"
                    f"  {statistics.median(times[0]):6.2f}s  {statistics.median(times[1]):6.2f}s"
                    f"  {100 * statistics.median(more):5.1f}%"
                    f"  {100 * statistics.median(shares):7.1f}%",
                    flush=True,
                )


if __name__ == "__main__":
    main()
