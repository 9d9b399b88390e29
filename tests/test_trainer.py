"""The loop: where it evaluates, when it stops, and what it says of how it ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bsscale.config import Config
from bsscale.data import Samples
from bsscale.engines.engine import Engine
from bsscale.engines.stacked import StackedEngine
from bsscale.files.checked import Arrays
from bsscale.objectives.divergence import DivergenceDetector
from bsscale.planning.plan import Plan
from bsscale.records.checkpoints import Checkpoint
from bsscale.schedules.options import OneCycleConfig
from bsscale.training.loop import Outcome, train
from tests.helpers import MODELS, Watched, prepare, small_config

LABEL = np.tile(np.array([0, 1], dtype=np.float32), 500)
VALIDATION = Samples(
    np.zeros((1000, 0), dtype=np.int32), np.zeros((1000, 0), dtype=np.float32), LABEL
)
TEST = Samples(VALIDATION.categorical, VALIDATION.numeric, LABEL)


class Scripted:
    """An engine of one slot that scores whatever AUC it is told to, evaluation after evaluation."""

    width = 1
    updates_at_once = 7

    def __init__(self, aucs: Sequence[float], train_loss: float = 0.5, scale: float = 0.01) -> None:
        self._aucs = iter(aucs)
        self._train_loss = train_loss
        self._scale = scale
        self.updates: list[int] = []

    def begin(
        self, slot: int, config: Config, plan: Plan, checkpoint: Checkpoint | None = None
    ) -> None:
        pass

    def state(self, slot: int) -> Arrays:
        return {"updates": np.array(sum(self.updates))}

    def agree(self, signal: int) -> int:
        return signal

    def go_on(self) -> None:
        pass

    def end(self, slot: int) -> None:
        pass

    def model(self, slot: int) -> None:
        pass

    def advance(self, updates: int) -> None:
        self.updates.append(updates)

    def take_train_loss(self, slot: int) -> float | None:
        return self._train_loss if self.updates else None

    def score(self, samples: Samples) -> npt.NDArray[np.float64]:
        if samples is TEST:
            return LABEL[np.newaxis].astype(np.float64)
        auc = next(self._aucs)
        if math.isnan(auc):
            return np.full((1, len(samples)), np.nan)
        logits = np.zeros((1, len(samples)))
        # Of the positives, a share of 2 (AUC - 1/2) stands above all others: the rest are ties.
        share = 2 * (auc - 0.5)
        positives = np.flatnonzero(samples.label)
        logits[0, positives[: round(abs(share) * len(positives))]] = np.sign(share) * self._scale
        return logits


def watched(engine: Engine, broken: str = "", **changes: Any) -> Watched:
    config = small_config(**{"target": 0.75, **changes})
    plan, _ = prepare(config)
    job = Watched(config, plan, broken)
    train([[job]], engine, VALIDATION, TEST)
    return job


def outcome(engine: Engine, **changes: Any) -> Outcome:
    result = watched(engine, **changes).outcome
    assert result is not None
    return result


def test_it_stops_when_the_next_evaluation_confirms_the_target() -> None:
    engine = Scripted([0.5, 0.7, 0.8, 0.9, 0.9, 0.9])
    result = outcome(engine)
    assert (result.status, result.samples_seen) == ("reached", 3 * 2048)
    assert result.crossing is not None
    assert result.crossing.interval == (2048, 4096)
    assert result.crossing.samples == pytest.approx(2048 + 2048 * 0.05 / 0.1)
    assert result.best_auc == pytest.approx(0.9)
    assert sum(engine.updates) == 3 * 2048 / 32
    assert result.test_auc == 1.0


def test_an_unconfirmed_hit_is_none() -> None:
    result = outcome(Scripted([0.5, 0.8, 0.7] + [0.6] * 7 + [0.8]))
    assert (result.status, result.crossing) == ("exhausted", None)
    assert "unconfirmed" in result.reason
    assert result.samples_seen == 20_480


def test_it_runs_on_past_the_target_if_asked() -> None:
    result = outcome(Scripted([0.5, 0.8, 0.8] + [0.6] * 8), stop_at_target=False)
    assert (result.status, result.samples_seen) == ("reached", 20_480)
    assert result.final_auc == pytest.approx(0.6)


def test_without_a_target_it_spends_its_budget() -> None:
    result = outcome(Scripted([0.9] * 11), target=None)
    assert (result.status, result.samples_seen, result.crossing) == ("exhausted", 20_480, None)
    assert "no target" in result.reason


def test_a_non_finite_score_ends_the_run_as_diverged() -> None:
    job = watched(Scripted([0.5, 0.8, math.nan]))
    result = job.outcome
    assert result is not None
    assert (result.status, result.reason) == ("diverged", "non-finite validation loss")
    assert job.points[-1].auc is None
    assert (result.best_auc, result.final_auc) == (pytest.approx(0.8), None)
    assert result.test_auc is None


def test_a_non_finite_training_loss_ends_the_run_as_diverged() -> None:
    result = outcome(Scripted([0.5, 0.8], train_loss=math.inf))
    assert (result.status, result.reason) == ("diverged", "non-finite training loss")
    assert result.samples_seen == 2048


def test_worse_than_a_constant_for_several_evaluations_is_diverged() -> None:
    # Inverted scores: an AUC of 0.45, and a loss above the entropy.
    result = outcome(Scripted([0.5, 0.7] + [0.45] * 9, scale=3.0))
    assert result.status == "diverged"
    assert "entropy" in result.reason and "5 evaluations" in result.reason
    assert result.samples_seen == 6 * 2048


def test_a_diverged_run_has_not_reached_its_target() -> None:
    engine = Scripted([0.5, 0.8, 0.8, math.nan])
    result = outcome(engine, stop_at_target=False)
    assert (result.status, result.crossing) == ("diverged", None)


def test_the_detector_forgives_a_run_that_comes_back() -> None:
    detector = DivergenceDetector(label_entropy=0.5, chance_auc_bound=0.51, patience=2)
    assert detector.reason(0.55, None, 0.5) is None  # untrained
    assert detector.reason(0.6, 0.6, 0.5) is None
    assert detector.reason(0.4, 0.6, 0.5) is None  # a loss below the entropy
    assert detector.reason(0.6, 0.6, 0.5) is None
    assert detector.reason(0.6, 0.6, 0.6) is None  # an AUC above chance
    assert detector.reason(0.6, 0.6, 0.5) is None
    assert detector.reason(0.6, 0.6, 0.5) is not None


def test_a_slow_start_is_not_divergence() -> None:
    detector = DivergenceDetector(label_entropy=0.5, chance_auc_bound=0.51, patience=2)
    losses = [0.7 - 0.01 * number for number in range(10)]
    assert [detector.reason(loss, 0.6, 0.5) for loss in losses] == [None] * 10


def test_what_observers_see() -> None:
    engine = Scripted([0.5, 0.8, 0.8])
    job = watched(engine, gpus=2, schedule=OneCycleConfig())
    assert job.steps == np.cumsum(engine.updates).tolist()
    assert max(engine.updates) == engine.updates_at_once
    assert [(p.step, p.samples) for p in job.points] == [(0, 0), (32, 2048), (64, 4096)]
    first, second, _ = job.points
    assert (first.lr, first.momentum, first.train_loss) == (None, None, None)
    schedule = job.plan.schedule
    assert (second.lr, second.momentum) == (schedule.lr(31), schedule.momentum(31))


@pytest.mark.parametrize("broken", ["begin", "on_eval", "end"])
def test_an_error_of_one_run_ends_that_run_alone(broken: str) -> None:
    config = small_config(model=MODELS["mlp"], target=None)
    plan, dataset = prepare(config)
    jobs = [Watched(config, plan, broken if number == 1 else "") for number in range(3)]
    engine = StackedEngine(config, plan, dataset, width=2)
    train([[jobs[0]], jobs[1:]], engine, dataset.validation, dataset.test)
    assert isinstance(jobs[1].error, OSError) and jobs[1].outcome is None
    for job in (jobs[0], jobs[2]):
        assert job.error is None and job.outcome is not None
        assert job.outcome.status == "exhausted"


def test_a_real_model_learns_and_its_curve_repeats_exactly() -> None:
    config = small_config(gpus=4, model=MODELS["mlp"], target=0.6, stop_at_target=False)
    plan, dataset = prepare(config)

    def curve() -> list[tuple[Any, ...]]:
        job = Watched(config, plan)
        engine = StackedEngine(config, plan, dataset)
        train([[job]], engine, dataset.validation, dataset.test)
        return [(p.samples, p.auc, p.loss, p.train_loss, p.lr) for p in job.points]

    first = curve()
    assert first[-1][1] > 0.65
    assert first == curve()
