"""Runs of the phases: plans, and training steps with the batches that they take."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bsscale.config import ExecutorOptions
from bsscale.data import Dataset
from bsscale.engines.stacked import StackedEngine
from bsscale.engines.stacked.feed import Batches, Feed
from bsscale.engines.stacked.graphs import UPDATES, Blocks, Inputs
from bsscale.engines.stacked.rates import coefficients
from bsscale.engines.stacked.steps import LayersStep
from bsscale.models import build_model
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from tests.benchmarks.bench_training import ours
from tests.helpers import changed, small_config

# The model and the batch of bench_training, whose figures docs/speed.md has.
BENCH: dict[str, Any] = {
    "dataset": {"name": "benchmark"},
    "model": ours.MODEL,
    "base_lr": 0.01,
    "micro_batch": 64,
    "eval_interval_samples": None,
    "budget_samples": None,
    "budget_passes": 1000,
}
DTYPES = {"fp32": torch.float32, "fp64": torch.float64}

Values = dict[str, Tensor]


def plan_for(device: torch.device, data: Dataset, **changes: Any) -> Plan:
    """A run on a device; `changes` are of the small configuration of the tests."""
    config = small_config(executor=ExecutorOptions("virtual", device.type), **changes)
    return make_plan(config, data.train.samples_per_pass, Devices.here())


@contextmanager
def engine_for(
    plan: Plan, dataset: Dataset, runs: int, step: str = "layers"
) -> Iterator[StackedEngine]:
    """An engine with a run in every slot, which differ in their seeds."""
    engine = StackedEngine(replace(plan, training_step=step), dataset, runs)
    try:
        for slot in range(runs):
            engine.begin(slot, changed(plan, seed=slot))
        yield engine
    finally:
        engine.close()


def values_of(engine: StackedEngine) -> Values:
    """All parameters of all runs, on the host."""
    return {
        f"{slot}.{name}": value.detach().double().cpu().clone()
        for slot in range(engine.width)
        for name, value in engine.model(slot).named_parameters()
    }


def relative_difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """‖a - b‖ / ‖b‖ over all parameters; infinite if one is not finite."""
    flat_a, flat_b = (torch.cat([x[name].flatten() for name in sorted(b)]) for x in (a, b))
    found = float((flat_a - flat_b).norm() / flat_b.norm())
    return found if np.isfinite(found) else float("inf")


@dataclass(frozen=True)
class Taken:
    """A training step by itself, and what some updates of it read: samples and coefficients.

    Nothing but updates happens here, so that they can be watched alone.
    """

    step: LayersStep
    plan: Plan
    dataset: Dataset
    inputs: list[Tensor]

    @classmethod
    def of(cls, plan: Plan, dataset: Dataset, runs: int, updates: int) -> Taken:
        device, dtype = torch.device(plan.device), DTYPES[plan.config.precision]
        step = LayersStep(
            build_model(plan.config.model, dataset.schema),
            runs,
            plan.objective,
            plan.groups,
            device,
            dtype,
            plan.config.clip_grad_norm,
        )
        feed = Feed(dataset.train, dataset.schema, runs, plan.global_batch, device, dtype)
        batches = feed.read({slot: (slot, 0) for slot in range(runs)}, updates)
        rates = coefficients(step.updates, dict.fromkeys(range(runs), (plan, 0)), runs, updates)
        samples = [batches.categorical, batches.numeric, batches.label]
        taken = cls(step, plan, dataset, [*samples, torch.from_numpy(rates).to(device, dtype)])
        taken.reset()
        return taken

    def reset(self) -> None:
        """Put every run at its start."""
        rates = self.inputs[-1]
        for slot in range(rates.shape[2]):
            torch.manual_seed(slot)
            module = build_model(self.plan.config.model, self.dataset.schema)
            self.step.parameters.load(slot, module.to(rates.device))
            self.step.updates.clear(slot)

    @torch.no_grad()
    def take(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Take some updates, launched one by one; gives their logits and labels."""
        *samples, rates = inputs
        batches = Batches(*samples)
        logits = [self.step.update(batches[k], rates[k]) for k in range(len(rates))]
        return torch.stack(logits), batches.label

    def one_by_one(self, checked: bool = False) -> Values:
        """Take every update, and give the parameters; `checked`: waiting for CUDA is an error."""
        checked = checked and self.inputs[0].is_cuda
        if checked:
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")
        try:
            self.take(self.inputs)
        finally:
            if checked:
                torch.cuda.set_sync_debug_mode("default")
        return self.values()

    @torch.no_grad()
    def graphed(self, updates: int) -> Values:
        """Take the first updates by CUDA graphs, and give the parameters."""
        blocks = self.captured()
        self.reset()
        for first in range(0, updates, UPDATES):
            blocks.take([each[first : min(first + UPDATES, updates)] for each in self.inputs])
        return self.values()

    @torch.no_grad()
    def captured(self) -> Blocks:
        """Graphs of updates; the runs have to be put at their start afterwards.

        Raises
        ------
        RuntimeError
            If the capture failed, of which the engine only warns.
        """
        warnings = _Records()
        logging.getLogger(Blocks.__module__).addHandler(warnings)
        try:
            blocks = Blocks(self.take, [each[:UPDATES] for each in self.inputs])
        finally:
            logging.getLogger(Blocks.__module__).removeHandler(warnings)
        if warnings.texts:
            raise RuntimeError("; ".join(warnings.texts))
        return blocks

    def values(self) -> Values:
        """All parameters of all runs, on the host."""
        values = self.step.parameters.values
        return {name: value.detach().double().cpu().clone() for name, value in values.items()}


class _Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
