"""One training by processes that bsscale starts, and the same in this process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from bsscale.config import Config, ExecutorOptions
from bsscale.data import Dataset, Samples, load_dataset
from bsscale.engines.ddp import DDPEngine
from bsscale.planning.plan import Plan
from bsscale.planning.world import World
from bsscale.training.processes import launch
from tests.engines.runs import Parameters, advance, all_at_once, parameters
from tests.helpers import prepare

DDP = ExecutorOptions("ddp", "cpu")


class Recording:
    """A training stream that remembers which positions were read."""

    def __init__(self, dataset: Dataset) -> None:
        self._stream = dataset.train
        self.samples_per_pass = dataset.train.samples_per_pass
        self.positions: list[tuple[int, int]] = []

    def read(self, seed: int, start: int, stop: int) -> Samples:
        self.positions.append((start, stop))
        return self._stream.read(seed, start, stop)


def virtual(config: Config, updates: int) -> Parameters:
    plan, dataset = prepare(config)
    [trained] = all_at_once([plan], dataset, updates=updates)
    return trained


def train_rank(world: World, job: tuple[Plan, int, str]) -> None:
    """Train, and leave the parameters, the scores and the samples that were read in a folder."""
    plan, updates, folder = job
    dataset = load_dataset(plan.config.dataset)
    stream = Recording(dataset)
    engine = DDPEngine(plan, replace(dataset, train=stream), world.rank)
    engine.begin(0, plan)
    advance(engine, updates)
    trained = parameters(engine)
    trained["scores"] = torch.from_numpy(engine.score(dataset.validation)[0])
    trained["train_loss"] = torch.tensor([engine.take_train_loss(0)], dtype=torch.float64)
    trained["positions"] = torch.tensor(stream.positions)
    save_file(trained, str(Path(folder, f"{world.rank}.safetensors")))
    engine.close()


def ddp(config: Config, updates: int, folder: Path) -> list[Parameters]:
    """What each rank has left: its parameters, and the rest of `train_rank` beside them."""
    plan, _ = prepare(replace(config, executor=DDP))
    launch(train_rank, (plan, updates, str(folder)), plan)
    return [load_file(folder / f"{rank}.safetensors") for rank in range(plan.processes)]
