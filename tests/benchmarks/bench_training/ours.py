"""The contestants that are bsscale."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.bench_training.contestant import Contestant, Seconds
from tests.benchmarks.bench_training.data import CARDINALITY, DEVICE, FIELDS, rows

if TYPE_CHECKING:
    from bsscale.data import Dataset
    from bsscale.engines.stacked import StackedEngine

MODEL = {"_target_": "bsscale.models.MLP", "name": "mlp", "embedding_dim": 8, "hidden": [128, 64]}


class Stacked:
    """The engine of `runs` runs, as wide as the plan makes it, run after run in every slot."""

    def __init__(self, runs: int) -> None:
        self.name = f"bsscale R={runs}"
        self.runs = runs
        self._engines: dict[int, StackedEngine] = {}

    def measure(self, micro_batch: int, steps: int, warm_up: int) -> Seconds:
        if micro_batch not in self._engines:
            self._engines[micro_batch] = start(micro_batch, self.runs)
        engine = self._engines[micro_batch]
        # So many runs follow each other in a slot, and each of them makes all the steps.
        turns = -(-self.runs // engine.width)
        advance(engine, warm_up)
        start_s = Seconds.now()
        advance(engine, steps * turns)
        return Seconds.now().since(start_s)


def start(micro_batch: int, runs: int) -> StackedEngine:
    """An engine as bsscale plans it for `runs` runs, with a run in every slot."""
    from bsscale.config import Config, ExecutorOptions, TaskOptions, TrackerOptions
    from bsscale.engines.stacked import StackedEngine
    from bsscale.optimizers import SGDConfig
    from bsscale.planning.derive import make_plan
    from bsscale.planning.devices import Devices
    from bsscale.planning.stacks import make_stacks
    from bsscale.schedules.options import FixedConfig

    dataset = load()
    plans = []
    for seed in range(runs):
        config = Config(
            task=TaskOptions("train"),
            dataset={"name": "benchmark"},
            model=MODEL,
            optimizer=SGDConfig(),
            schedule=FixedConfig(),
            executor=ExecutorOptions("virtual", DEVICE),
            tracker=TrackerOptions("none"),
            micro_batch=micro_batch,
            base_lr=0.01,
            seed=seed,
        )
        plans.append(make_plan(config, dataset.train.samples_per_pass, Devices.here()))
    [stack] = make_stacks(plans)
    engine = StackedEngine(plans[0], dataset, stack.width)
    for slot, plan in enumerate(plans[: stack.width]):
        engine.begin(slot, plan)
    return engine


def advance(engine: StackedEngine, steps: int) -> None:
    while steps:
        updates = min(steps, engine.updates_at_once)
        engine.advance(updates)
        steps -= updates


@functools.cache
def load() -> Dataset:
    """The benchmark's rows as a data set; none are held out, for none are scored."""
    from bsscale.data import Dataset, Samples, Schema

    ids, label = rows()
    every = Samples(ids.astype(np.int32), np.empty((len(ids), 0), np.float32), label)
    names = tuple(f"c{field}" for field in range(FIELDS))
    schema = Schema(categorical=names, cardinalities=(CARDINALITY,) * FIELDS, numeric=())
    return Dataset.from_arrays(schema, every, every[:2], every[:2])


def contestants() -> list[Contestant]:
    return [Stacked(1), Stacked(15)]
