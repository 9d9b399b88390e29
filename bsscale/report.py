"""Comparisons of runs, made from their records alone."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsscale.errors import RecordsError
from bsscale.records import RunRecord, read_evals, read_run
from bsscale.stats import Spread, ratio, spread

__all__ = ["ArmSummary", "Comparison", "LeftOut", "compare"]


@dataclass(frozen=True)
class ArmSummary:
    """One row of a comparison.

    Attributes
    ----------
    arm, arm_hash
        The arm's label and hash.
    target
        The AUC that its runs were to reach.
    counts
        Runs by status.
    samples_to_target
        Over the runs that trained; a run that did not reach the target counts as infinite.
        None where no target was set or every run failed.
    ratio_to_best
        Median over the lowest median of the arms that had the same target.
    median_best_auc
        Over the runs that trained.
    """

    arm: str
    arm_hash: str
    target: float | None
    counts: Mapping[str, int]
    samples_to_target: Spread | None
    ratio_to_best: float | None
    median_best_auc: float | None

    @property
    def trained(self) -> int:
        """Runs that did not fail."""
        return sum(self.counts.values()) - self.counts.get("failed", 0)

    def as_dict(self) -> dict[str, Any]:
        """Plain containers; censored numbers are None."""
        spread = self.samples_to_target
        return {
            "arm": self.arm,
            "arm_hash": self.arm_hash,
            "target": self.target,
            "runs": sum(self.counts.values()),
            **{status: self.counts.get(status, 0) for status in _STATUSES},
            "median_samples_to_target": None if spread is None else spread.median,
            "lowest_samples_to_target": None if spread is None else spread.low,
            "highest_samples_to_target": None if spread is None else spread.high,
            "ratio_to_best": self.ratio_to_best,
            "median_best_auc": self.median_best_auc,
        }


@dataclass(frozen=True)
class LeftOut:
    """A directory that is not in the comparison, or a run in it that failed, and why."""

    directory: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Arms side by side.

    Attributes
    ----------
    arms
        In the order in which their first runs were given.
    failed
        Runs that failed or left no record.
    curves
        For each arm's label, its median convergence: samples and median AUC over the runs that
        got so far.
    """

    arms: tuple[ArmSummary, ...]
    failed: tuple[LeftOut, ...]
    curves: Mapping[str, Sequence[tuple[int, float]]]

    HEADER = (
        "arm",
        "reached",
        "diverged",
        "median samples to target",
        "range",
        "ratio",
        "best AUC",
    )

    def rows(self) -> list[list[str]]:
        """The table's cells, one row an arm, under `HEADER`."""
        rows = []
        for arm in self.arms:
            spread, n = arm.samples_to_target, arm.trained
            rows.append(
                [
                    arm.arm,
                    f"{arm.counts.get('reached', 0)}/{n}",
                    f"{arm.counts.get('diverged', 0)}/{n}",
                    "-" if spread is None else _samples(spread.median),
                    "-" if spread is None else f"{_samples(spread.low)} - {_samples(spread.high)}",
                    _times(arm.ratio_to_best),
                    "-" if arm.median_best_auc is None else f"{arm.median_best_auc:.4f}",
                ]
            )
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, for comparison.json."""
        return {
            "arms": [arm.as_dict() for arm in self.arms],
            "failed": [{"directory": x.directory, "reason": x.reason} for x in self.failed],
            "curves": {
                arm: [{"samples": samples, "median_auc": auc} for samples, auc in curve]
                for arm, curve in self.curves.items()
            },
        }


_STATUSES = ("reached", "exhausted", "diverged", "failed")


def compare(directories: Sequence[Path]) -> Comparison:
    """Compare the runs in some directories.

    Parameters
    ----------
    directories
        One a run.
    """
    runs: dict[str, list[tuple[Path, RunRecord]]] = defaultdict(list)
    failed = []
    for directory in directories:
        try:
            record = read_run(directory)
        except RecordsError as error:
            failed.append(LeftOut(str(directory), error.fact))
            continue
        runs[record.arm_hash].append((directory, record))
        if record.status == "failed":
            failed.append(LeftOut(str(directory), record.reason))

    spreads = {key: _spread([record for _, record in arm]) for key, arm in runs.items()}
    best: dict[float | None, float] = defaultdict(lambda: math.inf)
    for key, arm in runs.items():
        if (own := spreads[key]) is not None:
            target = arm[0][1].target
            best[target] = min(best[target], own.median)
    arms, curves = [], {}
    for key, arm in runs.items():
        records = [record for _, record in arm]
        counts = {status: sum(r.status == status for r in records) for status in _STATUSES}
        best_aucs = [r.best_auc for r in records if r.status != "failed" and r.best_auc is not None]
        arm_spread = spreads[key]
        arms.append(
            ArmSummary(
                arm=records[0].arm,
                arm_hash=key,
                target=records[0].target,
                counts=counts,
                samples_to_target=arm_spread,
                ratio_to_best=_ratio(arm_spread, best[records[0].target]),
                median_best_auc=statistics.median(best_aucs) if best_aucs else None,
            )
        )
        curves[records[0].arm] = _median_curve([directory for directory, _ in arm])
    return Comparison(tuple(arms), tuple(failed), curves)


def _spread(records: Sequence[RunRecord]) -> Spread | None:
    trained = [r for r in records if r.status != "failed" and r.target is not None]
    if not trained:
        return None
    return spread(math.inf if r.samples_to_target is None else r.samples_to_target for r in trained)


def _ratio(arm: Spread | None, best: float) -> float | None:
    if arm is None or not math.isfinite(best):
        return None
    return ratio(arm.median, best)


def _median_curve(directories: Sequence[Path]) -> list[tuple[int, float]]:
    aucs: dict[int, list[float]] = defaultdict(list)
    for directory in directories:
        try:
            points = read_evals(directory)
        except RecordsError:
            continue  # a run that failed before its first evaluation has none
        for point in points:
            if point.auc is not None:
                aucs[point.samples].append(point.auc)
    return [(samples, statistics.median(values)) for samples, values in sorted(aucs.items())]


def _times(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _samples(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else "censored"
