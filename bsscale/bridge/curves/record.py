"""An imported curve as the record of a run, in memory only: nothing of it is written."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from bsscale.bridge.curves.curve import Curve
from bsscale.bridge.curves.wanted import Wanted
from bsscale.objectives.target import Crossing, crossing
from bsscale.records.evaluation import EvalPoint
from bsscale.records.run_record import RunRecord

__all__ = ["ImportedRun", "Origin", "recorded"]


@dataclass(frozen=True)
class Origin:
    """Where an imported curve comes from, and what must be said of it.

    Attributes
    ----------
    path, format
        The file or folder, and what it is.
    has_seed
        Whether its seed is in the source; otherwise runs are numbered in their order.
    hit_at_end
        Whether it reached the target at its last evaluation, which no other one confirms.
    hit_at_start
        Whether it was at the target at its first evaluation already.
    """

    path: Path
    format: str
    has_seed: bool
    hit_at_end: bool
    hit_at_start: bool


@dataclass(frozen=True)
class ImportedRun:
    """A curve as a run: its record, its evaluations, and where it comes from."""

    record: RunRecord
    evals: tuple[EvalPoint, ...]
    origin: Origin


def recorded(curve: Curve, seed: int, wanted: Wanted, longest: int) -> ImportedRun:
    """A curve as a run that has ended.

    It has diverged if its last value is not finite, and has missed the target if it ends before it.
    What is not known is None, or 0 for a count, such as that of the GPUs.

    Parameters
    ----------
    curve
        The evaluations.
    seed
        That of the curve, or the number of its run.
    wanted
        The metric and the target.
    longest
        The samples of the longest curve: the budget of a run that diverged, which would not have
        reached the target later.
    """
    metric, target = wanted.criterion, wanted.target
    samples = [point.samples for point in curve.points]
    values = [point.metrics[metric.name] for point in curve.points]
    hit = None if target is None else crossing(
        samples, values, target, metric.direction, ended_itself=True
    )  # fmt: skip
    status, reason = _ended(curve, hit, wanted)
    times = [point.wall_s for point in curve.points if point.wall_s is not None]
    record = RunRecord(
        status=status,
        reason=reason,
        arm=curve.arm,
        arm_hash=hashlib.sha256(f"imported {curve.arm}".encode()).hexdigest()[:12],
        study=None,
        metric=metric.name,
        direction=metric.direction,
        target=target,
        samples_to_target_interval=None if hit is None else hit.interval,
        samples_to_target=None if hit is None else hit.samples,
        best_value=metric.best(values),
        final_value=values[-1],
        test_value=None,
        best_possible=None,
        samples_seen=samples[-1],
        budget_samples=longest,
        eval_interval_samples=_interval(samples),
        steps=curve.points[-1].step,
        gpus=curve.settings.get("gpus", 0),
        micro_batch=curve.settings.get("micro_batch", 0),
        grad_accum=0,
        global_batch=curve.settings.get("global_batch", 0),
        schedule="",
        scaling=None,
        optimizer=None,
        model=None,
        dataset=None,
        objective="",
        executor="",
        trainer="script",
        data_key=None,
        columns=None,
        seed=seed,
        base_lr=None,
        samples_per_s=None,
        eval_share=None,
        wall_s=max(times, default=0.0),
        environment={},
        config={},
    )
    return ImportedRun(
        record,
        curve.points,
        Origin(
            curve.path,
            curve.format,
            has_seed=curve.seed is not None,
            hit_at_end=hit is not None and hit.interval[1] == samples[-1],
            hit_at_start=hit is not None and hit.interval[1] == samples[0] > 0,
        ),
    )


def _ended(
    curve: Curve, hit: Crossing | None, wanted: Wanted
) -> tuple[Literal["reached", "diverged", "exhausted"], str]:
    title, last = wanted.criterion.title, curve.points[-1]
    if hit is not None:
        return "reached", f"{title} {wanted.target:g} after {hit.samples:,.0f} samples"
    if last.metrics[wanted.criterion.name] is None:
        return "diverged", f"its last {title} is not finite"
    return "exhausted", f"its curve ends after {last.samples:,} samples"


def _interval(samples: Sequence[int]) -> int:
    """The samples between two evaluations, by the median; 0 with fewer than two."""
    steps = [after - before for before, after in pairwise(samples)]
    return round(statistics.median(steps)) if steps else 0
