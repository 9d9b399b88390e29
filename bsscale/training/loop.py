"""The training loop: step, evaluate on the sample grid, stop, checkpoint. Reads top to bottom."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bsscale.data import Samples
from bsscale.engines.engine import Engine
from bsscale.engines.outputs import Outputs
from bsscale.objectives import Objective
from bsscale.planning.plan import Plan
from bsscale.records.checkpoints import Checkpoint
from bsscale.records.evaluation import EvalPoint
from bsscale.training.noise_meter import NoiseMeter
from bsscale.training.outcome import Outcome
from bsscale.training.signals import Deferred, OneProcess, Peers
from bsscale.training.trajectory import Detector, Trajectory

__all__ = ["Job", "Observer", "train"]


class Observer(Protocol):
    """An observer of a run: the records, W&B, a progress bar."""

    def on_step(self, step: int) -> None:
        """`step` updates are done; it is not called for every update."""
        ...

    def on_eval(self, point: EvalPoint) -> None:
        """An evaluation was made."""
        ...


class Job(Protocol):
    """A run that is to be trained, and the handlers of its events.

    It continues from `checkpoint`; None: it begins.
    """

    plan: Plan
    checkpoint: Checkpoint | None

    def begin(self) -> Sequence[Observer]:
        """The run starts; returns its observers in the order in which they are called."""
        ...

    def save(self, checkpoint: Checkpoint) -> None:
        """Save the state from which the run can continue."""
        ...

    def end(self, outcome: Outcome, model: Any) -> None:
        """The run has ended, with this module."""
        ...

    def fail(self, error: Exception) -> None:
        """Record an error of its begin, its observers or its end; the other runs continue."""
        ...


def train(
    slots: Sequence[Sequence[Job]],
    engine: Engine,
    validation: Samples,
    test: Samples,
    peers: Peers | None = None,
    whole: Samples | None = None,
) -> None:
    """Train runs until each has confirmed its target, spent its budget or diverged.

    Parameters
    ----------
    slots
        For each of the engine's slots the runs that it trains, one after the other.
    engine
        Models, optimizers and training data.
    validation, test
        The samples that are scored at every evaluation, and the split that is scored once: at the
        first confirmed hit, or at the end.
    peers
        The processes that train the same run together; None: this one alone.
    whole
        The whole validation split, which is scored at the end of a run; None: `validation` is.

    Raises
    ------
    KeyboardInterrupt, SystemExit
        If a signal ends the process, after a checkpoint of each unfinished run.

    Notes
    -----
    The numbers of a run depend on its own slot alone, not on when the other runs end.
    """
    with Deferred() as signals:
        _train(slots, engine, validation, test, whole, signals, peers or OneProcess())


def _train(
    slots: Sequence[Sequence[Job]],
    engine: Engine,
    validation: Samples,
    test: Samples,
    whole: Samples | None,
    signals: Deferred,
    peers: Peers,
) -> None:
    waiting = [deque(jobs) for jobs in slots]
    live: dict[int, _Run] = {}

    def evaluate(runs: Sequence[_Run]) -> None:
        begun = time.perf_counter()
        outputs = engine.evaluate(validation)
        for run in runs:
            run.evaluate(outputs)
        # (all processes of a run must score together, also when the run has failed in this one)
        if tested := [run for run in runs if run.wants_test]:
            outputs = engine.evaluate(test)
            for run in tested:
                run.test(outputs)
        if whole is not None and (ended := [run for run in runs if run.is_scored_at_its_end]):
            outputs = engine.evaluate(whole)
            for run in ended:
                run.score_at_its_end(outputs)
        for run in live.values():  # all of them wait for it
            run.eval_s += time.perf_counter() - begun

    while True:
        # A free slot starts its next run at the next evaluation of the others, so that the
        # evaluations of all slots coincide.
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
            run.measure_noise_scale()
            run.schedule_next_evaluation()
        updates = min(run.next_pause - run.step for run in live.values())
        updates = min(updates, engine.updates_at_once)
        engine.advance(updates)
        for run in live.values():
            run.advance(updates)
        due = [run for run in live.values() if run.step == run.evaluation]
        if due:
            evaluate(due)
        for run in due:
            if run.status is not None and not run.over:
                run.end()
        for run in [run for run in live.values() if run.over]:
            del live[run.slot]
            engine.end(run.slot)

        signal = peers.agree(signals.pending)
        for run in live.values():
            if signal or run.step == run.checkpoint:
                run.save()
        if signal:
            signals.deliver(signal)
            peers.resume()


class _Run:
    """One run in its slot: its evaluations, and what they decide."""

    def __init__(self, job: Job, slot: int, engine: Engine, validation: Samples) -> None:
        self.job, self.slot, self.plan = job, slot, job.plan
        self._engine = engine
        # Build the model first: if this fails, no records of a run are left that never began.
        engine.begin(slot, job.plan, job.checkpoint)
        try:
            self._observers = job.begin()
        except Exception:
            engine.end(slot)
            raise
        start = job.checkpoint or Checkpoint(0, {}, (), 0.0, 0.0, {})
        self._test_value = start.test_value
        self._final_value: float | None = None
        self._is_scored = False
        self._metric = self.plan.metric
        self._trajectory = Trajectory(
            self._metric,
            self.plan.config.target,
            _detector(self.plan.objective, validation),
            self.plan.steps,
            self.plan.config.stop_at_target,
        )
        self._trajectory.keep(start.evals)
        evaluated = start.evals[-1].step if start.evals else 0
        self._noise = NoiseMeter(self.plan, start.windows, evaluated)
        self._started = time.perf_counter() - start.wall_s
        self.eval_s = start.eval_s
        self.step = start.step
        # The updates after which it is evaluated and checkpointed next.
        self.evaluation = self.checkpoint = start.step
        self.over = False
        if self.step:
            self.advance(0)

    @property
    def has_been_evaluated(self) -> bool:
        """Whether it has at least the evaluation of its untrained model."""
        return bool(self._trajectory.points)

    @property
    def status(self) -> str | None:
        """How it has ended; None: it goes on."""
        return self._trajectory.status

    def schedule_next_evaluation(self) -> None:
        """Compute the updates of the next evaluation and checkpoint, if the last ones are done."""
        if self.step == self.evaluation:
            self.evaluation = self.plan.next_evaluation(self.step)
        if self.step >= self.checkpoint:
            self.checkpoint = self.plan.next_checkpoint(self.step)

    @property
    def next_pause(self) -> int:
        """The update after which it is evaluated, checkpointed or measured next."""
        pauses = (self.evaluation, self.checkpoint, self.plan.next_noise_scale(self.step + 1))
        return min(pause for pause in pauses if pause is not None)

    def measure_noise_scale(self) -> None:
        """Measure the gradients of the coming samples, if that is planned before the next update.

        All processes of a run do so together, whatever its observers did.
        """
        if self._noise.is_due(self.step):
            self._noise.add(self.step, self._engine.squared_norms(self.slot))

    def advance(self, updates: int) -> None:
        """Count `updates` more updates, and notify the observers."""
        self.step += updates
        for observer in self._observers:
            self._guard(observer.on_step, self.step)

    def evaluate(self, outputs: Outputs) -> None:
        """Judge the run by its outputs for the validation split."""
        plan, step = self.plan, self.step
        point = EvalPoint(
            step=step,
            samples=step * plan.global_batch,
            metrics=outputs.metrics(self.slot, plan.objective),
            train_loss=self._engine.take_train_loss(self.slot),
            lr=plan.schedule.lr(step - 1) if step else None,
            momentum=plan.momentum(step - 1) if step else None,
            wall_s=time.perf_counter() - self._started,
            noise_scale=self._noise.take_recent(),
        )
        for observer in self._observers:
            self._guard(observer.on_eval, point)
        self._trajectory.add(point, decides=step > 0)

    def save(self) -> None:
        """Hand over a checkpoint."""
        checkpoint = Checkpoint(
            step=self.step,
            arrays=self._engine.state(self.slot),
            evals=tuple(self._trajectory.points),
            wall_s=time.perf_counter() - self._started,
            eval_s=self.eval_s,
            training=self.plan.training,
            test_value=self._test_value,
            windows=tuple(self._noise.windows),
        )
        self._guard(self.job.save, checkpoint)

    @property
    def wants_test(self) -> bool:
        """Whether the test split is to be scored now.

        That is at a hit, which the next evaluation may confirm, or at the end of a run that has
        confirmed none.
        """
        run = self._trajectory
        if run.status == "diverged" or run.crossing() is not None:
            return False
        return run.status is not None or run.is_hit

    def test(self, outputs: Outputs) -> None:
        """Keep the metric on the test split."""
        self._test_value = outputs.value(self.slot, self.plan.objective, self._metric)

    @property
    def is_scored_at_its_end(self) -> bool:
        """Whether it has ended, and not by divergence."""
        return self.status not in (None, "diverged")

    def score_at_its_end(self, outputs: Outputs) -> None:
        """Keep the metric on the whole validation split."""
        self._final_value = outputs.value(self.slot, self.plan.objective, self._metric)
        self._is_scored = True

    def end(self) -> None:
        """Hand the outcome over."""
        run = self._trajectory
        assert run.status is not None
        outcome = Outcome(
            status=run.status,
            reason=run.reason,
            crossing=run.crossing() if run.status == "reached" else None,
            best_value=run.best_value,
            final_value=self._final_value if self._is_scored else run.last_value,
            test_value=None if run.status == "diverged" else self._test_value,
            steps=self.step,
            samples_seen=self.step * self.plan.global_batch,
            wall_s=time.perf_counter() - self._started,
            eval_s=self.eval_s,
            noise=self._noise.fields(),
        )
        self._guard(self.job.end, outcome, self._engine.model(self.slot))
        self.over = True

    def _guard(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function of this run. An error in it ends this run and no other."""
        if self.over:
            return
        try:
            function(*arguments)
        except Exception as error:
            self.over = True
            self.job.fail(error)


def _detector(objective: Objective, held_out: Samples) -> Detector:
    """What detects the divergence of a run."""
    if held_out.weight is None:  # (an objective of the user's own need not know of weights)
        return objective.divergence(held_out.label)
    return objective.divergence(held_out.label, held_out.weight)


def _begin(jobs: deque[Job], slot: int, engine: Engine, validation: Samples) -> _Run | None:
    """The next of a slot's runs that can be begun."""
    while jobs:
        job = jobs.popleft()
        try:
            return _Run(job, slot, engine, validation)
        except Exception as error:
            job.fail(error)
    return None
