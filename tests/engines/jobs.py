"""Jobs for the tests of stacks under the loop: what becomes of each, beside which others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bsscale.data import load_dataset
from bsscale.engines.stacked import StackedEngine
from bsscale.training.loop import train
from bsscale.training.outcome import Outcome
from tests.engines.runs import Parameters, equal, short_plan
from tests.helpers import MODELS, Watched

# What ends a run early, by how it ends.
ODD: dict[str, dict[str, Any]] = {
    "diverged": {"base_lr": 1e30},
    "reached": {"target": 0.501},
    "exhausted": {"budget_samples": 1312},
}


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
        plan = short_plan(**{
            "model": MODELS["mlp"], "seed": seed, "budget_samples": 3000,
            "eval_interval_samples": 512, "target": None, "base_lr": 0.03, **changes, **own,
        })  # fmt: skip
        made.append(Kept(plan))
    return made


def train_together(slots: Sequence[Sequence[Kept]]) -> None:
    plan = next(job.plan for jobs in slots for job in jobs)
    dataset = load_dataset(plan.config.dataset)
    engine = StackedEngine(plan, dataset, len(slots))
    train(slots, engine, dataset.validation, dataset.test)
    assert all(job.outcome is not None for jobs in slots for job in jobs)


def assert_same(ours: Kept, others: Kept) -> None:
    assert ours.seen == others.seen
    assert equal(ours.parameters, others.parameters)
    assert ours.outcome is not None and others.outcome is not None
    assert ours.outcome.test_value == others.outcome.test_value
