"""The training loop: step, evaluate on the sample grid, stop. It reads top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

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

__all__ = ["Engine", "Observer", "Outcome", "train"]


class Engine(Protocol):
    """What the loop asks of an engine; see bsscale/engines."""

    def update(self, step: int, lr: float, momentum: float | None) -> None: ...

    def take_train_loss(self) -> float | None: ...

    def score(self, samples: Samples) -> npt.NDArray[np.float64]: ...


class Observer(Protocol):
    """Someone who watches a run: records, W&B, a progress bar."""

    def on_step(self, step: int) -> None:
        """`step` updates are done."""
        ...

    def on_eval(self, point: EvalPoint) -> None:
        """An evaluation was made."""
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
    steps, samples_seen
        Updates made, and their samples.
    wall_s, eval_s
        Seconds of the whole loop, and of its evaluations.
    """

    status: str
    reason: str
    crossing: Crossing | None
    best_auc: float | None
    final_auc: float | None
    steps: int
    samples_seen: int
    wall_s: float
    eval_s: float


def train(
    plan: Plan, engine: Engine, validation: Samples, observers: Sequence[Observer] = ()
) -> Outcome:
    """Train until the target is confirmed, the budget is spent, or the run diverges.

    Parameters
    ----------
    plan
        The run's numbers.
    engine
        Model, optimizer and training data.
    validation
        What the AUC is measured on.
    observers
        Called in turn after every update and evaluation.
    """
    detector = DivergenceDetector(
        label_entropy(validation.label), chance_auc_bound(validation.label)
    )
    points: list[EvalPoint] = []
    started = time.perf_counter()
    eval_s = 0.0

    def evaluate(step: int, lr: float | None, momentum: float | None) -> EvalPoint:
        nonlocal eval_s
        begun = time.perf_counter()
        logits = engine.score(validation)
        finite = bool(np.isfinite(logits).all())
        point = EvalPoint(
            step=step,
            samples=step * plan.global_batch,
            auc=roc_auc(validation.label, logits) if finite else None,
            loss=binary_cross_entropy(validation.label, logits) if finite else math.nan,
            train_loss=engine.take_train_loss(),
            lr=lr,
            momentum=momentum,
            wall_s=time.perf_counter() - started,
        )
        eval_s += time.perf_counter() - begun
        points.append(point)
        for observer in observers:
            observer.on_eval(point)
        return point

    def hit() -> Crossing | None:
        if plan.target is None:
            return None
        return crossing([p.samples for p in points], [p.auc for p in points], plan.target)

    status, reason = "exhausted", ""
    evaluate(0, None, None)
    step = 0
    while step < plan.steps:
        lr, momentum = plan.schedule.lr(step), plan.schedule.momentum(step)
        engine.update(step, lr, momentum)
        step += 1
        for observer in observers:
            observer.on_step(step)
        if not plan.evaluates_after(step):
            continue
        point = evaluate(step, lr, momentum)
        diverged = detector.reason(point.loss, point.train_loss, point.auc)
        if diverged is not None:
            status, reason = "diverged", diverged
            break
        if plan.stop_at_target and hit() is not None:
            break

    where = hit()
    if where is not None and status != "diverged":
        status, reason = "reached", "the target was reached and confirmed by the next evaluation"
    elif status == "exhausted":
        reason = _why_exhausted(plan, points)
    aucs = [point.auc for point in points if point.auc is not None]
    return Outcome(
        status=status,
        reason=reason,
        crossing=where if status == "reached" else None,
        best_auc=max(aucs, default=None),
        final_auc=points[-1].auc,
        steps=step,
        samples_seen=step * plan.global_batch,
        wall_s=time.perf_counter() - started,
        eval_s=eval_s,
    )


def _why_exhausted(plan: Plan, points: Sequence[EvalPoint]) -> str:
    if plan.target is None:
        return "the budget is spent; no target was set"
    last = points[-1].auc
    if last is not None and last >= plan.target:
        return "the budget is spent; the last evaluation reached the target unconfirmed"
    return "the budget is spent; the target was not confirmed"
