"""The loop: where it evaluates, when it stops, and what it says of how it ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from signal import SIGTERM
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bsscale.data import Samples
from bsscale.engines.engine import Engine
from bsscale.engines.outputs import HostOutputs
from bsscale.engines.stacked import StackedEngine
from bsscale.files.checked import Arrays
from bsscale.objectives.divergence import DivergenceDetector
from bsscale.planning.plan import Plan
from bsscale.records.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from bsscale.records.evaluation import EvalPoint
from bsscale.schedules.options import OneCycleConfig
from bsscale.training.loop import train
from bsscale.training.outcome import Outcome
from tests.helpers import MODELS, Watched, prepare, small_config

LABEL = np.tile(np.array([0, 1], dtype=np.float32), 500)
VALIDATION = Samples(
    np.zeros((1000, 0), dtype=np.int32), np.zeros((1000, 0), dtype=np.float32), LABEL
)
TEST = Samples(VALIDATION.categorical, VALIDATION.numeric, LABEL)
WHOLE = Samples(VALIDATION.categorical, VALIDATION.numeric, LABEL)


def scores(auc: float, scale: float) -> npt.NDArray[np.float64]:
    """Logits of one slot that have this AUC; not finite if it is not."""
    if math.isnan(auc):
        return np.full((1, len(LABEL)), np.nan)
    logits = np.zeros((1, len(LABEL)))
    # Of the positives, a share of 2 (AUC - 1/2) stands above all others: the rest are ties.
    share = 2 * (auc - 0.5)
    positives = np.flatnonzero(LABEL)
    logits[0, positives[: round(abs(share) * len(positives))]] = np.sign(share) * scale
    return logits


class Scripted:
    """An engine of one slot that scores whatever AUC it is told to, evaluation after evaluation.

    On the test split it is `value_on_test` of the number of the last evaluation, counted from
    `first`.
    """

    width = 1
    updates_at_once = 7

    def __init__(
        self, aucs: Sequence[float], train_loss: float = 0.5, scale: float = 0.01, first: int = 0
    ) -> None:
        self._aucs = iter(aucs)
        self._train_loss = train_loss
        self._scale = scale
        self._evaluation = first - 1
        self.updates: list[int] = []
        self.tested: list[int] = []

    def begin(self, slot: int, plan: Plan, checkpoint: Checkpoint | None = None) -> None:
        pass

    def state(self, slot: int) -> Arrays:
        return {"updates": np.array(sum(self.updates))}

    def end(self, slot: int) -> None:
        pass

    def model(self, slot: int) -> None:
        pass

    def advance(self, updates: int) -> None:
        self.updates.append(updates)

    def take_train_loss(self, slot: int) -> float | None:
        return self._train_loss if self.updates else None

    def evaluate(self, samples: Samples) -> HostOutputs:
        return HostOutputs(samples.label, self.score(samples))

    def score(self, samples: Samples) -> npt.NDArray[np.float64]:
        if samples is WHOLE:
            return scores(0.83, self._scale)
        if samples is TEST:
            self.tested.append(self._evaluation)
            return scores(value_on_test(self._evaluation), self._scale)
        self._evaluation += 1
        return scores(next(self._aucs), self._scale)


def value_on_test(evaluation: int) -> float:
    return 0.6 + 0.01 * evaluation


def watched(engine: Engine, broken: str = "", **changes: Any) -> Watched:
    plan, _ = prepare(small_config(**{"target": 0.75, **changes}))
    job = Watched(plan, broken)
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
    assert result.best_value == pytest.approx(0.9)
    assert sum(engine.updates) == 3 * 2048 / 32
    assert result.test_value == pytest.approx(value_on_test(2))


def test_an_unconfirmed_hit_is_none() -> None:
    result = outcome(Scripted([0.5, 0.8, 0.7] + [0.6] * 7 + [0.8]))
    assert (result.status, result.crossing) == ("exhausted", None)
    assert "unconfirmed" in result.reason
    assert result.samples_seen == 20_480


def test_it_runs_on_past_the_target_if_asked() -> None:
    result = outcome(Scripted([0.5, 0.8, 0.8] + [0.6] * 8), stop_at_target=False)
    assert (result.status, result.samples_seen) == ("reached", 20_480)
    assert result.final_value == pytest.approx(0.6)


def test_without_a_target_it_spends_its_budget() -> None:
    result = outcome(Scripted([0.9] * 11), target=None)
    assert (result.status, result.samples_seen, result.crossing) == ("exhausted", 20_480, None)
    assert "no target" in result.reason


def test_the_whole_validation_split_is_scored_once_at_the_end() -> None:
    for aucs, status in (([0.5, 0.8, 0.81], "reached"), ([0.6] * 11, "exhausted")):
        plan, _ = prepare(small_config(target=0.75))
        job = Watched(plan, "")
        train([[job]], Scripted(aucs), VALIDATION, TEST, whole=WHOLE)
        assert job.outcome is not None and job.outcome.status == status
        assert job.outcome.final_value == pytest.approx(0.83)
        assert job.outcome.best_value == pytest.approx(max(aucs))
    job = Watched(plan, "")
    train([[job]], Scripted([0.5, math.nan]), VALIDATION, TEST, whole=WHOLE)
    assert job.outcome is not None and job.outcome.final_value is None


def test_a_non_finite_score_ends_the_run_as_diverged() -> None:
    job = watched(Scripted([0.5, 0.8, math.nan]))
    result = job.outcome
    assert result is not None
    assert (result.status, result.reason) == ("diverged", "non-finite validation loss")
    assert set(job.points[-1].metrics.values()) == {None}
    assert (result.best_value, result.final_value) == (pytest.approx(0.8), None)
    assert result.test_value is None


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


def binary_detector() -> DivergenceDetector:
    return DivergenceDetector(
        "log_loss", 0.5, "the label's entropy", ("auc", 0.51, "AUC"), patience=2
    )


def test_the_detector_forgives_a_run_that_comes_back() -> None:
    detector = binary_detector()

    def reason(loss: float, train_loss: float | None, auc: float) -> str | None:
        return detector.reason({"log_loss": loss, "auc": auc}, train_loss)

    assert reason(0.55, None, 0.5) is None  # untrained
    assert reason(0.6, 0.6, 0.5) is None
    assert reason(0.4, 0.6, 0.5) is None  # a loss below the entropy
    assert reason(0.6, 0.6, 0.5) is None
    assert reason(0.6, 0.6, 0.6) is None  # an AUC above chance
    assert reason(0.6, 0.6, 0.5) is None
    assert reason(0.6, 0.6, 0.5) is not None


def test_a_slow_start_is_not_divergence() -> None:
    detector = binary_detector()
    evaluations = [{"log_loss": 0.7 - 0.01 * number, "auc": 0.5} for number in range(10)]
    assert [detector.reason(metrics, 0.6) for metrics in evaluations] == [None] * 10


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
    plan, dataset = prepare(small_config(model=MODELS["mlp"], target=None))
    jobs = [Watched(plan, broken if number == 1 else "") for number in range(3)]
    engine = StackedEngine(plan, dataset, width=2)
    train([[jobs[0]], jobs[1:]], engine, dataset.validation, dataset.test)
    assert isinstance(jobs[1].error, OSError) and jobs[1].outcome is None
    for job in (jobs[0], jobs[2]):
        assert job.error is None and job.outcome is not None
        assert job.outcome.status == "exhausted"


def trained(**changes: Any) -> Watched:
    """A run of a real model, four replicas."""
    plan, dataset = prepare(small_config(gpus=4, model=MODELS["mlp"], **changes))
    job = Watched(plan)
    train([[job]], StackedEngine(plan, dataset), dataset.validation, dataset.test)
    return job


def test_a_real_model_learns_and_its_curve_repeats_exactly() -> None:
    def curve() -> list[EvalPoint]:
        job = trained(target=0.6, stop_at_target=False)
        return [replace(point, wall_s=None) for point in job.points]

    first = curve()
    auc = first[-1].metrics["auc"]
    assert auc is not None and auc > 0.65
    assert first == curve()


@pytest.mark.parametrize(
    ("aucs", "tested"),
    [
        ([0.5, 0.7, 0.8, 0.9], [2]),
        ([0.8, 0.8], [0]),  # before the first update
        ([0.8, 0.7, 0.8, 0.8], [0, 2]),
        ([0.5, 0.8, 0.7, 0.8, 0.8], [1, 3]),
        ([0.5, 0.8, 0.7, *[0.6] * 8], [1, 10]),  # at the end, as nothing was confirmed
        ([0.5, 0.8, *[0.7] * 8, 0.8], [1, 10]),
        ([0.6] * 11, [10]),
    ],
)
@pytest.mark.parametrize("stop", [True, False])
def test_the_test_value_is_that_of_the_first_confirmed_hit(
    aucs: list[float], tested: list[int], stop: bool
) -> None:
    # Where training goes on, a second crossing changes nothing.
    rest = [] if stop else [0.6, 0.8, 0.8, *[0.6] * 8]
    engine = Scripted([*aucs, *rest])
    result = outcome(engine, stop_at_target=stop)
    assert engine.tested == tested
    assert result.test_value == pytest.approx(value_on_test(tested[-1]))
    assert stop or result.samples_seen == 20_480


@pytest.mark.parametrize("aucs", [[0.5, math.nan], [0.5, 0.8, math.nan], [0.5, 0.8, 0.8, math.nan]])
def test_a_diverged_run_has_no_test_value(aucs: list[float]) -> None:
    result = outcome(Scripted(aucs), stop_at_target=False)
    assert (result.status, result.test_value) == ("diverged", None)


def test_without_a_target_the_test_value_is_that_of_the_end() -> None:
    engine = Scripted([0.9] * 11)
    result = outcome(engine, target=None)
    assert engine.tested == [10]
    assert result.test_value == pytest.approx(value_on_test(10))


@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("hit", [0, 1])
def test_a_resume_between_a_hit_and_its_confirmation_keeps_the_test_value(
    hit: int, stop: bool, tmp_path: Path
) -> None:
    aucs = [*[0.5] * hit, 0.8, 0.8, *[0.6] * (9 - hit)]
    # Two checkpoints an interval: one between two evaluations, and one at each.
    first = watched(Scripted(aucs), stop_at_target=stop, checkpoint_interval_samples=1024)
    assert first.outcome is not None
    at_or_after_the_hit = [c for c in first.saved if hit * 64 <= c.step < (hit + 1) * 64]
    assert len(at_or_after_the_hit) == (2 if hit else 1)
    for checkpoint in at_or_after_the_hit:
        second = Watched(first.plan)
        second.checkpoint = read_checkpoint(write_checkpoint(tmp_path, checkpoint))
        engine = Scripted(aucs[hit + 1 :], first=hit + 1)
        train([[second]], engine, VALIDATION, TEST)
        assert second.outcome is not None and engine.tested == []
        assert second.outcome.test_value == pytest.approx(value_on_test(hit))
        assert second.outcome.crossing == first.outcome.crossing


def test_after_a_resume_a_hit_that_is_not_confirmed_does_not_count(tmp_path: Path) -> None:
    aucs = [0.5, 0.8, *[0.6] * 9]
    first = watched(Scripted(aucs), checkpoint_interval_samples=2048)
    checkpoint = first.saved[0]
    assert (checkpoint.step, checkpoint.test_value) == (64, pytest.approx(value_on_test(1)))
    second = Watched(first.plan)
    second.checkpoint = read_checkpoint(write_checkpoint(tmp_path, checkpoint))
    train([[second]], Scripted(aucs[2:], first=2), VALIDATION, TEST)
    assert second.outcome is not None and second.outcome.status == "exhausted"
    assert second.outcome.test_value == pytest.approx(value_on_test(10))


def test_the_test_value_is_of_the_model_at_the_hit() -> None:
    on = trained(target=0.6, stop_at_target=False).outcome
    assert on is not None and on.crossing is not None
    at_the_hit = trained(budget_samples=on.crossing.interval[1]).outcome
    assert at_the_hit is not None and at_the_hit.samples_seen < on.samples_seen
    assert on.test_value == at_the_hit.test_value
    assert on.test_value != trained().outcome.test_value  # type: ignore[union-attr]


def test_a_run_that_cannot_be_written_down_is_scored_as_its_other_processes_score_it() -> None:
    """They know nothing of its error, and wait for its share of the scores."""

    class OnAFullDisk(Watched):
        def on_eval(self, point: EvalPoint) -> None:
            if point.step:
                raise OSError("the disk is full")

    plan, _ = prepare(small_config(target=0.75))
    job, engine = OnAFullDisk(plan), Scripted([0.5, 0.8])
    train([[job]], engine, VALIDATION, TEST)
    assert isinstance(job.error, OSError) and job.outcome is None
    assert engine.tested == [1]


def test_what_one_process_of_a_run_is_told_all_of_them_act_on() -> None:
    class OthersAreTold:
        def agree(self, signal: int) -> int:
            return SIGTERM

        def resume(self) -> None:
            raise AssertionError("nobody goes on")

    plan, _ = prepare(small_config())
    job = Watched(plan)
    with pytest.raises(SystemExit) as ended:
        train([[job]], Scripted([0.5]), VALIDATION, TEST, OthersAreTold())
    assert ended.value.code == 128 + SIGTERM
    assert [checkpoint.step for checkpoint in job.saved] == [7]
