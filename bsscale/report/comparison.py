"""The data classes of a comparison of arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bsscale.objectives import Criterion
from bsscale.records.run_record import RunRecord
from bsscale.report.read import FoundRun, LeftOut
from bsscale.stats import (
    KaplanMeier,
    Rate,
    RatioEstimate,
    Spread,
    Winner,
    smallest_margin,
)

__all__ = [
    "STATUSES",
    "ArmSummary",
    "Comparison",
    "CurvePoint",
    "EasierTarget",
    "FamilySummary",
    "SeedResult",
]

STATUSES = ("reached", "exhausted", "diverged", "failed")


@dataclass(frozen=True)
class SeedResult:
    """One run that trained: its samples-to-target, `math.inf` if it did not reach the target."""

    seed: int
    samples: float
    status: str
    directory: str


@dataclass(frozen=True)
class CurvePoint:
    """An arm's metric after so many samples: the median of its runs, and the band around it."""

    samples: int
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class EasierTarget:
    """An arm's ratio to the baseline at a target that is easier to reach.

    Attributes
    ----------
    target, easier_by
        The value of the metric, and its distance from the target of the runs, >= 0.
    ratio
        With an interval of its own.
    """

    target: float
    easier_by: float
    ratio: RatioEstimate


@dataclass(frozen=True)
class ArmSummary:
    """One row of a comparison.

    Attributes
    ----------
    arm, short, arm_hash
        The arm's label, unique here; the same without what all arms have in common; its hash.
    study, role
        The study it is of, and what it is there: baseline, arm or control.
    gpus, target
        Replicas, 0 where they are not known, and the value of the metric that its runs were to
        reach.
    counts
        Runs by status.
    seeds
        Every run that trained and had a target, by seed.
    samples_to_target
        Over those; a run that did not reach the target counts as infinite. None where no target
        was set or every run failed.
    survival
        The same with its uncertainty: the median's confidence interval.
    ratio_to_best
        Median over the lowest median of the arms that had the same target.
    baseline, ratio
        The label of the arm it is compared with (its own, if it is that one), and the samples it
        needs over those of that arm, seed by seed.
    together
        The ratio with an interval that holds together with those of the other arms; None where
        there are too few seeds for so many comparisons.
    judged
        The one of the two that the verdict rests on.
    primary
        Whether it is the registered primary arm, which is judged on its own.
    verdict
        The same in words; None for a baseline.
    seeds_needed
        Estimate of the seeds that would distinguish the two; None if there is no estimate.
    seeds_as_fast
        Estimate of the seeds with which it would be called as fast within 10%, if it is; None
        likewise.
    divergence
        The rate of its runs that diverged before the target; None where none trained.
    easier
        The same ratio at easier targets, the target of the runs first.
    test_note
        A sentence where the test split contradicts the verdict, else None.
    median_best_value
        Of the metric, over the runs that trained.
    curve
        The metric over samples. A run that has stopped keeps its last value. Otherwise the end of
        the curve would show slow runs only.
    runs
        All its runs, the failed ones too.
    """

    arm: str
    short: str
    arm_hash: str
    study: str | None
    role: str | None
    gpus: int
    target: float | None
    counts: Mapping[str, int]
    seeds: tuple[SeedResult, ...]
    samples_to_target: Spread | None
    survival: KaplanMeier | None
    ratio_to_best: float | None
    baseline: str | None
    ratio: RatioEstimate | None
    verdict: str | None
    seeds_needed: int | None
    median_best_value: float | None
    curve: tuple[CurvePoint, ...]
    runs: tuple[FoundRun, ...]
    together: RatioEstimate | None = None
    judged: RatioEstimate | None = None
    primary: bool = False
    seeds_as_fast: int | None = None
    divergence: Rate | None = None
    easier: tuple[EasierTarget, ...] = ()
    test_note: str | None = None

    @property
    def trained(self) -> int:
        """Runs that did not fail."""
        return sum(self.counts.values()) - self.failed

    @property
    def failed(self) -> int:
        """Runs that failed."""
        return self.counts.get("failed", 0)

    @property
    def is_baseline(self) -> bool:
        """Whether the others are compared with this one."""
        return self.baseline == self.arm

    @property
    def imported(self) -> bool:
        """Whether a curve of it comes from elsewhere."""
        return any(run.imported is not None for run in self.runs)

    @property
    def record(self) -> RunRecord:
        """The record of its first run."""
        return self.runs[0].record

    @property
    def criterion(self) -> Criterion:
        """The metric that judges its runs, with its direction."""
        return self.record.criterion

    def as_dict(self) -> dict[str, Any]:
        """Plain containers; censored numbers are None."""
        spread, survival = self.samples_to_target, self.survival
        return {
            "arm": self.arm,
            "arm_hash": self.arm_hash,
            "study": self.study,
            "role": self.role,
            "imported": self.imported,
            "gpus": self.gpus or None,
            "target": self.target,
            "runs": sum(self.counts.values()),
            **{status: self.counts.get(status, 0) for status in STATUSES},
            "median_samples_to_target": None if spread is None else spread.median,
            "lowest_samples_to_target": None if spread is None else spread.low,
            "highest_samples_to_target": None if spread is None else spread.high,
            "median_interval": None if survival is None else [survival.low, survival.high],
            "ratio_to_best": self.ratio_to_best,
            "baseline": self.baseline,
            "ratio_to_baseline": None if self.ratio is None else asdict(self.ratio),
            "ratio_together": None if self.together is None else asdict(self.together),
            "primary": self.primary,
            "verdict": self.verdict,
            "seeds_needed": self.seeds_needed,
            "seeds_as_fast": self.seeds_as_fast,
            "smallest_margin": None if self.judged is None else smallest_margin(self.judged),
            "divergence": None if self.divergence is None else asdict(self.divergence),
            "easier_targets": [asdict(each) for each in self.easier],
            "test_note": self.test_note,
            "median_best_value": self.median_best_value,
            "metric": self.criterion.name,
            "direction": self.criterion.direction,
            "seeds": [asdict(result) for result in self.seeds],
        }


@dataclass(frozen=True)
class FamilySummary:
    """The arms that are compared with one baseline.

    Attributes
    ----------
    baseline, arms
        Their labels.
    together
        Whether there are intervals that hold together.
    confidence
        With which they do, and of each interval on its own.
    each
        Confidence of each of them on its own; None where there are none.
    primary
        The label of the registered primary arm, or None.
    looks
        The registered numbers of seeds at which the study could stop; empty without looks.
    winner
        The fastest arm, controls only where there are no others; None where no arm reaches the
        target in more than half of its runs.
    """

    baseline: str
    arms: tuple[str, ...]
    together: bool
    confidence: float
    each: float | None
    primary: str | None
    looks: tuple[int, ...]
    winner: Winner | None


@dataclass(frozen=True)
class Comparison:
    """Arms side by side.

    Attributes
    ----------
    arms
        In the order in which their first runs were given; a study's as they were registered.
    failed
        Runs that failed or left no record.
    families
        The arms by the baseline that they are compared with.
    set_aside
        What else is not shown: a second run of an arm and a seed, a curve that cannot be read.
    """

    arms: tuple[ArmSummary, ...]
    failed: tuple[LeftOut, ...]
    set_aside: tuple[LeftOut, ...] = ()
    families: tuple[FamilySummary, ...] = ()

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """All that is not shown."""
        return self.failed + self.set_aside

    @property
    def criteria(self) -> Sequence[Criterion]:
        """The metrics that judge the arms, without duplicates, in the order of the arms."""
        return list(dict.fromkeys(arm.criterion for arm in self.arms))

    @property
    def curves(self) -> Mapping[str, Sequence[tuple[int, float]]]:
        """For each arm's label, samples and the median of the metric."""
        return {
            arm.arm: [(point.samples, point.median) for point in arm.curve] for arm in self.arms
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, for comparison.json and report.json."""
        return {
            "arms": [arm.as_dict() for arm in self.arms],
            "families": [asdict(family) for family in self.families],
            "failed": [asdict(each) for each in self.failed],
            "set_aside": [asdict(each) for each in self.set_aside],
            "curves": {
                arm.arm: [
                    {"samples": p.samples, "median": p.median, "low": p.low, "high": p.high}
                    for p in arm.curve
                ]
                for arm in self.arms
            },
        }
