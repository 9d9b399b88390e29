"""What the loop asks of the stacked engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bsscale.data import Dataset, load_dataset
from bsscale.engines.eager import EagerEngine
from bsscale.engines.stacked import StackedEngine
from bsscale.errors import ConfigError
from bsscale.optimizers import AdamConfig, SGDConfig
from bsscale.planning.plan import Plan
from bsscale.planning.stacks import Stack, split
from bsscale.training.loop import train
from bsscale.training.run import make_engine
from tests.engines.jobs import jobs, train_together
from tests.engines.runs import SHORT, advance, eager, relative_distance, six_runs, stacked
from tests.helpers import MODELS, prepare, small_config


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_training_losses_are_means_over_the_updates_since_the_last_call(precision: str) -> None:
    plans, dataset = six_runs(SGDConfig(), model=MODELS["mlp"], precision=precision)
    engine = stacked(plans, dataset)
    alone = [eager(plan, dataset) for plan in plans]
    assert [engine.take_train_loss(slot) for slot in range(6)] == [None] * 6
    for updates in (1, 30):
        advance(engine, updates)
        for slot, one in enumerate(alone):
            advance(one, updates)
            expected = one.take_train_loss(0)
            assert engine.take_train_loss(slot) == pytest.approx(expected, rel=1e-6)
        assert engine.take_train_loss(0) is None
    # A slot's next run starts with no loss of the last one's.
    advance(engine, 5)
    engine.end(3)
    engine.begin(3, plans[0])
    assert engine.take_train_loss(3) is None
    advance(engine, 5)
    again = eager(plans[0], dataset)
    advance(again, 5)
    assert engine.take_train_loss(3) == pytest.approx(again.take_train_loss(0), rel=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_those_of_each_slots_module(model: str) -> None:
    plans, dataset = six_runs(SGDConfig(), model=MODELS[model], precision="fp32")
    engine = stacked(plans, dataset)
    advance(engine, 20)
    for samples in (dataset.validation, dataset.test, dataset.validation):
        scores = engine.score(samples)
        assert scores.shape == (6, len(samples)) and scores.dtype == np.float64
        inputs = torch.from_numpy(samples.categorical), torch.from_numpy(samples.numeric)
        for slot in range(6):
            with torch.no_grad():
                logits = engine.model(slot)(*inputs)
            assert np.ptp(logits.numpy()) > 0.01
            np.testing.assert_allclose(scores[slot], logits.numpy(), rtol=1e-5, atol=1e-5)


def test_a_refilled_stack_under_the_loop_gives_torchs_runs() -> None:
    """The loop, from the first evaluation to the test split, over two engines."""
    changes = {"precision": "fp64", "optimizer": AdamConfig(), "base_lr": 0.01}
    together, alone = jobs(6, **changes), jobs(6, **changes)
    train_together(split(together, 4))
    dataset = load_dataset(SHORT)
    for job in alone:
        train([[job]], EagerEngine(job.plan, dataset), dataset.validation, dataset.test)
    for ours, torchs in zip(together, alone, strict=True):
        assert relative_distance(ours.parameters, torchs.parameters) < 1e-10
        assert ours.outcome is not None and torchs.outcome is not None
        assert ours.outcome.test_value == pytest.approx(torchs.outcome.test_value, abs=1e-9)
        for a, b in zip(ours.points, torchs.points, strict=True):
            assert (a.step, a.lr, a.momentum) == (b.step, b.lr, b.momentum)
            assert a.metrics == pytest.approx(b.metrics, rel=1e-9)
            assert (a.train_loss is None) == (b.train_loss is None)
            assert a.train_loss == (b.train_loss and pytest.approx(b.train_loss, rel=1e-9))


@pytest.mark.parametrize(("fits", "width"), [(6, 6), (2, 2), (1, 1)])
def test_a_stack_that_does_not_fit_into_memory_is_trained_in_smaller_blocks(
    fits: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small(StackedEngine):
        def __init__(self, plan: Plan, dataset: Dataset, width: int) -> None:
            if width > fits:
                raise torch.OutOfMemoryError("it is full")
            super().__init__(plan, dataset, width)

    monkeypatch.setattr("bsscale.engines.stacked.StackedEngine", Small)
    plan, dataset = prepare(small_config(model=MODELS["mlp"]))
    engine = make_engine(plan, dataset, Stack(tuple(range(6)), 6, "layers", ""))
    assert engine.width == width


def test_a_run_that_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> StackedEngine:
        raise torch.OutOfMemoryError("it is full")

    monkeypatch.setattr("bsscale.engines.stacked.StackedEngine", full)
    plan, dataset = prepare(small_config())
    with pytest.raises(ConfigError, match="does not fit"):
        make_engine(plan, dataset, Stack((0,), 1, "layers", ""))
