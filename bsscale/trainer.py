"""The training loop: step, evaluate on the sample grid, stop, checkpoint. Reads top to bottom."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bsscale.checked_file import Arrays
from bsscale.checkpoints import Checkpoint
from bsscale.config import Config
from bsscale.data import Samples
from bsscale.divergence import DivergenceDetector
from bsscale.metrics import (
    Crossing,
    binary_cross_entropy,
    chance_auc_bound,
    crossing,
    label_entropy,
    roc_auc,
)
from bsscale.plan import Plan
from bsscale.records import EvalPoint
from bsscale.signals import Deferred

__all__ = ["Engine", "Job", "Observer", "Outcome", "train"]


class Engine(Protocol):
    """What the loop asks of an engine; see bsscale/engines."""

    @property
    def width(self) -> int:
        """Runs at a time."""
        ...

    @property
    def updates_at_once(self) -> int:
        """The most updates that one `advance` takes."""
        ...

    def begin(
        self, slot: int, config: Config, plan: Plan, checkpoint: Checkpoint | None = None
    ) -> None:
        """Put a run into a slot, at its start or where a checkpoint left it."""
        ...

    def advance(self, updates: int) -> None:
        """Take so many updates in every slot."""
        ...

    def take_train_loss(self, slot: int) -> float | None:
        """Mean training loss since the last call."""
        ...

    def score(self, samples: Samples) -> npt.NDArray[np.float64]:
        """Logits of every slot, shape (width, n)."""
        ...

    def model(self, slot: int) -> Any:
        """The module as it is now."""
        ...

    def state(self, slot: int) -> Arrays:
        """What a checkpoint of the run has to hold; all processes of a run call it together."""
        ...

    def agree(self, signal: int) -> int:
        """The signal that all processes of the run act on; all of them call it together."""
        ...

    def go_on(self) -> None:
        """Training goes on after a signal; ends this process where another one has ended."""
        ...

    def end(self, slot: int) -> None:
        """Take a run out of its slot."""
        ...


class Observer(Protocol):
    """Someone who watches a run: records, W&B, a progress bar."""

    def on_step(self, step: int) -> None:
        """`step` updates are done; not every number is seen."""
        ...

    def on_eval(self, point: EvalPoint) -> None:
        """An evaluation was made."""
        ...


class Job(Protocol):
    """A run to be trained, and what becomes of it.

    `checkpoint` is where it goes on; None: it begins.
    """

    config: Config
    plan: Plan
    checkpoint: Checkpoint | None

    def begin(self) -> Sequence[Observer]:
        """The run starts; those who watch it are called in turn."""
        ...

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep what the run needs to go on from here."""
        ...

    def end(self, outcome: Outcome, model: Any) -> None:
        """The run has ended, with this module."""
        ...

    def fail(self, error: Exception) -> None:
        """Beginning, watching or ending it raised this error; the other runs go on."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    status
        reached, exhausted or diverged.
    reason
        Why, in a sentence.
    crossing
        Where the target was reached and confirmed, or None.
    best_auc, final_auc
        Of the evaluations; None where none is defined.
    test_auc
        Of the final weights on the test split; None for a run that diverged.
    steps, samples_seen
        Updates made, and their samples.
    wall_s, eval_s
        Seconds from the run's start to its end, and of them of evaluations.
    """

    status: str
    reason: str
    crossing: Crossing | None
    best_auc: float | None
    final_auc: float | None
    test_auc: float | None
    steps: int
    samples_seen: int
    wall_s: float
    eval_s: float


def train(
    slots: Sequence[Sequence[Job]], engine: Engine, validation: Samples, test: Samples
) -> None:
    """Train runs until each has confirmed its target, spent its budget or diverged.

    Parameters
    ----------
    slots
        For each of the engine's slots the runs that it trains, one after the other.
    engine
        Models, optimizers and training data.
    validation, test
        What the AUC is measured on, during the runs and at the end of each.

    Raises
    ------
    KeyboardInterrupt, SystemExit
        If the process is told to end, after a checkpoint of each run that has not ended.

    Notes
    -----
    A run's numbers depend on its own slot alone: the others may end whenever they do.
    """
    with Deferred() as signals:
        _train(slots, engine, validation, test, signals)


def _train(
    slots: Sequence[Sequence[Job]],
    engine: Engine,
    validation: Samples,
    test: Samples,
    signals: Deferred,
) -> None:
    waiting = [deque(jobs) for jobs in slots]
    live: dict[int, _Run] = {}

    def evaluate(runs: Sequence[_Run]) -> None:
        begun = time.perf_counter()
        logits = engine.score(validation)
        for run in runs:
            run.evaluate(validation.label, logits[run.slot])
        for run in live.values():  # all of them wait for it
            run.eval_s += time.perf_counter() - begun

    while True:
        # A free slot waits for the others' next evaluation, so that all fall together from then on.
        if all(run.step == run.evaluation for run in live.values()):
            fresh = [
                run
                for slot, jobs in enumerate(waiting)
                if slot not in live and (run := _begin(jobs, slot, engine, validation)) is not None
            ]
            live |= {run.slot: run for run in fresh}
            if beginning := [run for run in fresh if not run.has_been_evaluated]:
                evaluate(beginning)
        if not live:
            return

        for run in live.values():
            run.look_ahead()
        updates = min(min(run.evaluation, run.checkpoint) - run.step for run in live.values())
        updates = min(updates, engine.updates_at_once)
        engine.advance(updates)
        for run in live.values():
            run.advance(updates)
        due = [run for run in live.values() if run.step == run.evaluation]
        if due:
            evaluate(due)

        ended = [run for run in due if run.status is not None and not run.over]
        if any(run.status != "diverged" for run in ended):
            logits = engine.score(test)
        for run in ended:
            run.end(None if run.status == "diverged" else roc_auc(test.label, logits[run.slot]))
        for run in [run for run in live.values() if run.over]:
            del live[run.slot]
            engine.end(run.slot)

        signal = engine.agree(signals.pending)
        for run in live.values():
            if signal or run.step == run.checkpoint:
                run.save()
        if signal:
            signals.deliver(signal)
            engine.go_on()


class _Run:
    """One run in its slot: its evaluations, and what they decide."""

    def __init__(self, job: Job, slot: int, engine: Engine, validation: Samples) -> None:
        self.job, self.slot, self.plan = job, slot, job.plan
        self._engine = engine
        # The model first: one that cannot be built leaves no records of a run that never began.
        engine.begin(slot, job.config, job.plan, job.checkpoint)
        try:
            self._observers = job.begin()
        except Exception:
            engine.end(slot)
            raise
        start = job.checkpoint or Checkpoint(0, {}, (), 0.0, 0.0, {})
        self._detector = DivergenceDetector(
            label_entropy(validation.label), chance_auc_bound(validation.label)
        )
        self._points: list[EvalPoint] = list(start.evals)
        for point in self._points:
            self._detector.reason(point.loss, point.train_loss, point.auc)
        self._reason = ""
        self._started = time.perf_counter() - start.wall_s
        self.eval_s = start.eval_s
        self.step = start.step
        # The updates after which it is evaluated and checkpointed next.
        self.evaluation = self.checkpoint = start.step
        self.status: str | None = None
        self.over = False
        if self.step:
            self.advance(0)

    @property
    def has_been_evaluated(self) -> bool:
        """Whether it has at least the evaluation of its untrained model."""
        return bool(self._points)

    def look_ahead(self) -> None:
        """Settle what comes next, where what came before has been done."""
        if self.step == self.evaluation:
            self.evaluation = self.plan.next_evaluation(self.step)
        if self.step >= self.checkpoint:
            self.checkpoint = self.plan.next_checkpoint(self.step)

    def advance(self, updates: int) -> None:
        """So many updates have been made."""
        self.step += updates
        for observer in self._observers:
            self._guard(observer.on_step, self.step)

    def evaluate(self, label: npt.NDArray[np.float32], logits: npt.NDArray[np.float64]) -> None:
        """Judge the run by its logits of the validation split."""
        plan, step = self.plan, self.step
        finite = bool(np.isfinite(logits).all())
        point = EvalPoint(
            step=step,
            samples=step * plan.global_batch,
            auc=roc_auc(label, logits) if finite else None,
            loss=binary_cross_entropy(label, logits) if finite else math.nan,
            train_loss=self._engine.take_train_loss(self.slot),
            lr=plan.schedule.lr(step - 1) if step else None,
            momentum=plan.schedule.momentum(step - 1) if step else None,
            wall_s=time.perf_counter() - self._started,
        )
        self._points.append(point)
        for observer in self._observers:
            self._guard(observer.on_eval, point)
        if step:
            self._decide(point)

    def save(self) -> None:
        """Hand over a checkpoint."""
        checkpoint = Checkpoint(
            step=self.step,
            arrays=self._engine.state(self.slot),
            evals=tuple(self._points),
            wall_s=time.perf_counter() - self._started,
            eval_s=self.eval_s,
            training=self.plan.training,
        )
        self._guard(self.job.save, checkpoint)

    def end(self, test_auc: float | None) -> None:
        """Hand the outcome over."""
        aucs = [point.auc for point in self._points if point.auc is not None]
        assert self.status is not None
        outcome = Outcome(
            status=self.status,
            reason=self._reason,
            crossing=self._crossing() if self.status == "reached" else None,
            best_auc=max(aucs, default=None),
            final_auc=self._points[-1].auc,
            test_auc=test_auc,
            steps=self.step,
            samples_seen=self.step * self.plan.global_batch,
            wall_s=time.perf_counter() - self._started,
            eval_s=self.eval_s,
        )
        self._guard(self.job.end, outcome, self._engine.model(self.slot))
        self.over = True

    def _decide(self, point: EvalPoint) -> None:
        """Whether the run has ended, and how."""
        plan = self.plan
        diverged = self._detector.reason(point.loss, point.train_loss, point.auc)
        if diverged is not None:
            self.status, self._reason = "diverged", diverged
            return
        hit = self._crossing() is not None
        if self.step < plan.steps and not (hit and plan.stop_at_target):
            return
        if hit:
            self.status = "reached"
            self._reason = "the target was reached and confirmed by the next evaluation"
            return
        self.status = "exhausted"
        if plan.target is None:
            self._reason = "the budget is spent; no target was set"
        elif point.auc is not None and point.auc >= plan.target:
            self._reason = "the budget is spent; the last evaluation reached the target unconfirmed"
        else:
            self._reason = "the budget is spent; the target was not confirmed"

    def _crossing(self) -> Crossing | None:
        if self.plan.target is None:
            return None
        points = self._points
        return crossing([p.samples for p in points], [p.auc for p in points], self.plan.target)

    def _guard(self, function: Callable[..., object], *arguments: object) -> None:
        """Call what belongs to this run alone; its error ends this run alone."""
        if self.over:
            return
        try:
            function(*arguments)
        except Exception as error:
            self.over = True
            self.job.fail(error)


def _begin(jobs: deque[Job], slot: int, engine: Engine, validation: Samples) -> _Run | None:
    """The next of a slot's runs that can be begun."""
    while jobs:
        job = jobs.popleft()
        try:
            return _Run(job, slot, engine, validation)
        except Exception as error:
            job.fail(error)
    return None
