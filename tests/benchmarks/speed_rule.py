"""The constants of bsscale/planning/speed.py: times of updates, and what the rule predicts.

    python -m tests.benchmarks.speed_rule

Models of 26 + 13 fields on one thread, with touched-row updates (tables of 100,000 ids) and with
updates of all rows (10,000 to 1 million ids). The fit is by least squares on the relative error,
with constants of 0 or more.
"""

from __future__ import annotations

import statistics

import numpy as np
import torch
from scipy.optimize import nnls

from bsscale.engines.stacked import StackedEngine
from bsscale.optimizers import AdamConfig, OptimizerConfig, SGDConfig
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.memory import count
from bsscale.planning.speed import update_s
from tests.benchmarks.criteo_speed import clicks, cpu_s
from tests.helpers import MODELS, small_config

TOUCHED, ALL, ADAM = SGDConfig(momentum=0.0, sparse=True), SGDConfig(), AdamConfig()
CASES: list[tuple[str, int, int, OptimizerConfig]] = [
    *((model, 100_000, batch, TOUCHED) for model in MODELS for batch in (32, 128, 1024)),
    *(("dlrm", ids, 128, ALL) for ids in (10_000, 100_000, 1_000_000)),
    *(("dcnv2", ids, 1024, ALL) for ids in (100_000, 1_000_000)),
    *(("deepfm", ids, 128, ADAM) for ids in (100_000, 1_000_000)),
]


def main() -> None:
    torch.set_num_threads(1)
    data = {ids: clicks(ids, rows=50_000) for ids in sorted({case[1] for case in CASES})}
    rows, times, predicted = [], [], []
    for model, ids, batch, optimizer in CASES:
        config = small_config(
            model=MODELS[model], micro_batch=batch, optimizer=optimizer, budget_samples=10**7
        )
        plan = make_plan(config, data[ids].samples_per_pass, Devices(cuda=0))
        engine = StackedEngine(plan, data[ids])
        engine.begin(0, plan)
        updates = max(1, min(engine.updates_at_once, 16_384 // batch, 2 * 10**7 // ids))
        engine.advance(updates)
        taken = [cpu_s(lambda e=engine, n=updates: e.advance(n)) / updates for _ in range(3)]
        counts = count(config.model, data[ids])
        assert counts is not None
        dense = counts.parameters - counts.table_parameters
        lazy, states = optimizer is TOUCHED, len(optimizer.states)
        updated = 0 if lazy else counts.table_parameters
        rooted = updated * (optimizer.second_moment is not None)
        rows.append(
            [1.0, batch, batch * dense, batch * counts.gathered, updated * (2 + states), rooted]
        )
        times.append(statistics.median(taken))
        predicted.append(update_s(counts, batch, optimizer, lazy))
    matrix, measured = np.array(rows), np.array(times)
    fitted, _ = nnls(matrix / measured[:, None], np.ones(len(measured)))
    names = ("UPDATE_S", "SAMPLE_S", "MULTIPLIED_S", "GATHERED_S", "WRITTEN_S", "ROOT_S")
    print(", ".join(f"{name} = {value:.2g}" for name, value in zip(names, fitted, strict=True)))
    for case, time, rule, fit in zip(CASES, times, predicted, matrix @ fitted, strict=True):
        model, ids, batch, optimizer = case
        kind = "touched rows" if optimizer is TOUCHED else f"all rows, {optimizer.name}"
        print(
            f"{model:>8} {ids:>9,} ids, batch {batch:>5,}, {kind:<15} {1e3 * time:7.2f} ms, "
            f"rule {rule / time:.2f}, fit {fit / time:.2f} of it"
        )


if __name__ == "__main__":
    main()
