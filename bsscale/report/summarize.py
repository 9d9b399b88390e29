"""Arms side by side: what the runs of each say together, and against a baseline."""

from __future__ import annotations

import bisect
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from bsscale.errors import RecordsError
from bsscale.records.run_record import RunRecord
from bsscale.report.read import FoundRun, LeftOut, Sources, read_runs
from bsscale.stats import (
    KaplanMeier,
    RatioEstimate,
    Spread,
    kaplan_meier,
    paired_ratio,
    ratio,
    seeds_to_tell_apart,
    spread,
    verdict,
)

__all__ = ["ArmSummary", "Comparison", "CurvePoint", "SeedResult", "compare", "summarize"]

# What runs that differ in their seed alone share: study, arm, target, and what they are judged by.
Key: TypeAlias = tuple[str, str, float | None, str]

STATUSES = ("reached", "exhausted", "diverged", "failed")
# From so many runs on, a band is the middle half of them; of fewer, all.
QUARTILES_FROM = 4
# In letters: what a legend has room for on a telephone.
LONGEST_LABEL = 44


@dataclass(frozen=True)
class SeedResult:
    """One run that trained: its samples-to-target, `math.inf` where it did not get there."""

    seed: int
    samples: float
    status: str
    directory: str


@dataclass(frozen=True)
class CurvePoint:
    """An arm's AUC after so many samples: the median of its runs, and the band around it."""

    samples: int
    median: float
    low: float
    high: float


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
        Replicas, and the AUC that its runs were to reach.
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
    verdict
        The same in words; None for a baseline.
    seeds_needed
        Estimate of the seeds that would tell the two apart; None where nothing can be said.
    median_best_auc
        Over the runs that trained.
    curve
        AUC over samples. A run that has stopped keeps its last AUC, or an arm's late curve would
        be that of its slow runs alone.
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
    median_best_auc: float | None
    curve: tuple[CurvePoint, ...]
    runs: tuple[FoundRun, ...]

    @property
    def trained(self) -> int:
        """Runs that did not fail."""
        return sum(self.counts.values()) - self.counts.get("failed", 0)

    @property
    def is_baseline(self) -> bool:
        """Whether the others are compared with this one."""
        return self.baseline == self.arm

    @property
    def record(self) -> RunRecord:
        """That of its first run."""
        return self.runs[0].record

    def as_dict(self) -> dict[str, Any]:
        """Plain containers; censored numbers are None."""
        spread, survival = self.samples_to_target, self.survival
        return {
            "arm": self.arm,
            "arm_hash": self.arm_hash,
            "study": self.study,
            "role": self.role,
            "gpus": self.gpus,
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
            "verdict": self.verdict,
            "seeds_needed": self.seeds_needed,
            "median_best_auc": self.median_best_auc,
            "seeds": [asdict(result) for result in self.seeds],
        }


@dataclass(frozen=True)
class Comparison:
    """Arms side by side.

    Attributes
    ----------
    arms
        In the order in which their first runs were given; a study's as they were registered.
    failed
        Runs that failed or left no record.
    set_aside
        What else is not shown: a second run of an arm and a seed, a curve that cannot be read.
    """

    arms: tuple[ArmSummary, ...]
    failed: tuple[LeftOut, ...]
    set_aside: tuple[LeftOut, ...] = ()

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """All that is not shown."""
        return self.failed + self.set_aside

    @property
    def curves(self) -> Mapping[str, Sequence[tuple[int, float]]]:
        """For each arm's label, samples and median AUC."""
        return {
            arm.arm: [(point.samples, point.median) for point in arm.curve] for arm in self.arms
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, for comparison.json and report.json."""
        return {
            "arms": [arm.as_dict() for arm in self.arms],
            "failed": [asdict(each) for each in self.failed],
            "set_aside": [asdict(each) for each in self.set_aside],
            "curves": {
                arm.arm: [
                    {"samples": p.samples, "median_auc": p.median, "low": p.low, "high": p.high}
                    for p in arm.curve
                ]
                for arm in self.arms
            },
        }


def compare(directories: Sequence[Path]) -> Comparison:
    """Compare the runs in some directories.

    Parameters
    ----------
    directories
        One a run.
    """
    return summarize(read_runs(directories))


def summarize(sources: Sources, baseline: str | None = None) -> Comparison:
    """Compare the runs that were found.

    Parameters
    ----------
    sources
        What was read.
    baseline
        Label of the arm that ratios refer to. None: the study's baseline, else the only arm at
        one GPU, else the best; of the arms with the same target, in the same study.

    Raises
    ------
    RecordsError
        If no arm is called `baseline`.
    """
    set_aside = list(sources.set_aside)
    groups: dict[Key, list[FoundRun]] = defaultdict(list)
    for run in _once(sources.runs, set_aside):
        groups[_key(run)].append(run)
    labels = _labels(groups, several_studies=len(sources.studies) > 1)
    arms = [_arm(groups[key], *labels[key]) for key in groups]
    arms = _in_registered_order(arms, sources)
    arms = _compared(arms, baseline)
    return Comparison(tuple(arms), tuple(sources.failed), tuple(set_aside))


def _once(runs: Iterable[FoundRun], set_aside: list[LeftOut]) -> list[FoundRun]:
    """The runs, less those of an arm and a seed that were there before."""
    first: dict[tuple[Key, int], FoundRun] = {}
    failed = []
    for run in runs:
        if run.record.status == "failed":
            failed.append(run)
            continue
        known = first.setdefault((_key(run), run.record.seed), run)
        if known is not run:
            reason = f"the same arm and seed as {known.directory}"
            set_aside.append(LeftOut(str(run.directory), reason))
    kept = {id(run) for run in (*first.values(), *failed)}
    return [run for run in runs if id(run) in kept]


def _key(run: FoundRun) -> Key:
    """What runs that differ in their seed alone share: in a study the name, else the hash."""
    record = run.record
    judged = f"{record.metric} {record.data_key or ''}"
    if run.study is not None:
        return str(run.study.directory), record.arm, record.target, judged
    return "", record.arm_hash, record.target, judged


def _labels(
    groups: Mapping[Key, Sequence[FoundRun]], several_studies: bool
) -> dict[Key, tuple[str, str]]:
    """Each group's label, unique, and the same shortened."""
    full = {}
    found = {
        run.study.directory: run.study for runs in groups.values() for run in runs if run.study
    }
    studies = {directory: study.record.name for directory, study in found.items()}
    twice = {name for name, times in Counter(studies.values()).items() if times > 1}
    for key, runs in groups.items():
        label, study = runs[0].record.arm, runs[0].study
        if study is not None and several_studies:
            # Two studies of one name are told apart by where they lie.
            label = (
                f"{study.directory if study.record.name in twice else study.record.name}: {label}"
            )
        full[key] = label
    for label, times in Counter(full.values()).items():
        same = [key for key, each in full.items() if each == label] if times > 1 else []
        targets, data = {key[2] for key in same}, {key[3] for key in same}
        for position, key in enumerate(same):
            own = key[1][:6]
            if len(targets) == len(same):
                own = f"target={key[2]}"
            elif len(data) == len(same):  # (the metric, and eight digits of the data's key)
                own = f"data={key[3].split()[-1][:8]}"
            full[key] = f"{label} ({own})" if position or own != key[1][:6] else label
    words = [label.split() for label in full.values()]
    common = {w for w in words[0] if all(w in each for each in words)} if len(words) > 1 else set()
    if len(words) == 1:
        common = {word for word in words[0] if not word.startswith("schedule.")}
    dropped = {word for word in common if "=" in word and not word.startswith("gpus=")}
    short = {
        key: " ".join(
            word.removeprefix("schedule.") for word in label.split() if word not in dropped
        )
        for key, label in full.items()
    }
    if max(map(len, short.values()), default=0) > LONGEST_LABEL:
        # What tells arms apart must not be what is cut off.
        rest = {
            key: " ".join(word for word in label.split() if word not in common)
            for key, label in short.items()
        }
        short = rest if all(rest.values()) else short
    if len(set(short.values())) < len(short):
        short = full
    return {key: (full[key], short[key] or full[key]) for key in groups}


def _arm(runs: Sequence[FoundRun], label: str, short: str) -> ArmSummary:
    record, study = runs[0].record, runs[0].study
    trained = [run for run in runs if run.record.status != "failed"]
    best_aucs = [run.record.best_value for run in trained if run.record.best_value is not None]
    judged = sorted(
        (run for run in trained if run.record.target is not None), key=lambda run: run.record.seed
    )
    times = [run.record.samples_to_target for run in judged]
    seeds = tuple(
        SeedResult(
            run.record.seed,
            math.inf if samples is None else samples,
            run.record.status,
            str(run.directory),
        )
        for run, samples in zip(judged, times, strict=True)
    )
    return ArmSummary(
        arm=label,
        short=short,
        arm_hash=record.arm_hash,
        study=None if study is None else study.record.name,
        role=None if study is None else study.record.role(record.arm),
        gpus=record.gpus,
        target=record.target,
        counts={status: sum(r.record.status == status for r in runs) for status in STATUSES},
        seeds=seeds,
        samples_to_target=spread(result.samples for result in seeds) if seeds else None,
        survival=_survival(judged) if seeds else None,
        ratio_to_best=None,
        baseline=None,
        ratio=None,
        verdict=None,
        seeds_needed=None,
        median_best_auc=statistics.median(best_aucs) if best_aucs else None,
        curve=_curve([run for run in trained if run.evals]),
        runs=tuple(runs),
    )


def _survival(runs: Sequence[FoundRun]) -> KaplanMeier:
    """A run that did not get there is known to need more than it saw; a diverged one, than all."""
    samples, reached = [], []
    for run in runs:
        record = run.record
        reached.append(record.samples_to_target is not None)
        if record.samples_to_target is not None:
            samples.append(record.samples_to_target)
        else:
            seen = record.budget_samples if record.status == "diverged" else record.samples_seen
            samples.append(float(seen))
    return kaplan_meier(samples, reached)


def _curve(runs: Sequence[FoundRun]) -> tuple[CurvePoint, ...]:
    curves = []
    for run in runs:
        points = [
            (p.samples, value)
            for p in run.evals
            if (value := p.metrics.get(run.record.metric)) is not None
        ]
        if points:
            curves.append(([samples for samples, _ in points], [auc for _, auc in points]))
    made = []
    for samples in sorted({each for grid, _ in curves for each in grid}):
        known = [
            aucs[position - 1]
            for grid, aucs in curves
            if (position := bisect.bisect_right(grid, samples))
        ]
        low, high = min(known), max(known)
        if len(known) >= QUARTILES_FROM:
            low, _, high = statistics.quantiles(known, n=4, method="inclusive")
        made.append(CurvePoint(samples, statistics.median(known), low, high))
    return tuple(made)


def _in_registered_order(arms: list[ArmSummary], sources: Sources) -> list[ArmSummary]:
    order = {
        (str(study.directory), arm.name): position
        for study in sources.studies
        for position, arm in enumerate(study.record.arms)
    }

    def position(arm: ArmSummary) -> tuple[int, int]:
        study = arm.runs[0].study
        if study is None:
            return len(sources.studies), 0
        here = (str(study.directory), arm.record.arm)
        return sources.studies.index(study), order.get(here, len(order))

    return sorted(arms, key=position)


def _compared(arms: Sequence[ArmSummary], baseline: str | None) -> list[ArmSummary]:
    if baseline is not None and not any(_called(arm, baseline) for arm in arms):
        names = ", ".join(repr(arm.arm) for arm in arms) or "none"
        raise RecordsError(
            f"task.baseline={baseline!r} is not an arm of this report", f"the arms are {names}"
        )
    made = []
    for arm in arms:
        peers = [other for other in arms if _judged_alike(other.record, arm.record)]
        own = arm.samples_to_target
        lowest = min(
            (p.samples_to_target.median for p in peers if p.samples_to_target), default=math.inf
        )
        if own is not None and math.isfinite(lowest):
            arm = replace(arm, ratio_to_best=ratio(own.median, lowest))
        reference = _baseline_of(arm, peers, baseline)
        made.append(arm if reference is None else _against(arm, reference))
    return made


def _judged_alike(one: RunRecord, other: RunRecord) -> bool:
    """Whether two runs go for the same target of the same metric, on the same data."""
    names = ("metric", "target", "data_key")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _called(arm: ArmSummary, label: str) -> bool:
    return label in (arm.arm, arm.short, arm.record.arm)


def _baseline_of(
    arm: ArmSummary, peers: Sequence[ArmSummary], label: str | None
) -> ArmSummary | None:
    """The arm, of those with the same target, that an arm is compared with."""
    judged = [peer for peer in peers if peer.samples_to_target is not None]
    study = arm.runs[0].study
    together = [peer for peer in judged if peer.runs[0].study is study]
    if label is not None:
        named = [peer for peer in (*together, *judged) if _called(peer, label)]
        return named[0] if named else None
    if study is not None:
        for peer in together:
            if peer.record.arm == study.record.baseline:
                return peer
    alone = [peer for peer in together if peer.gpus == 1]
    if len(alone) == 1:
        return alone[0]
    return min(together, key=lambda peer: _median(peer), default=None)


def _median(arm: ArmSummary) -> float:
    return math.inf if arm.samples_to_target is None else arm.samples_to_target.median


def _against(arm: ArmSummary, reference: ArmSummary) -> ArmSummary:
    if arm.arm == reference.arm or arm.samples_to_target is None:
        return replace(arm, baseline=reference.arm)
    own = {result.seed: result.samples for result in arm.seeds}
    others = {result.seed: result.samples for result in reference.seeds}
    if not own.keys() & others.keys():
        says = f"shares no seed with {reference.short}, so the two cannot be compared seed by seed"
        return replace(arm, baseline=reference.arm, verdict=says)
    estimate = paired_ratio(own, others)
    # A run may diverge after it has reached its target.
    diverged = sum(r.status == "diverged" and math.isinf(r.samples) for r in arm.seeds)
    says = verdict(estimate, diverged, len(arm.seeds)).replace("1 GPU", reference.short)
    return replace(
        arm,
        baseline=reference.arm,
        ratio=estimate,
        verdict=says,
        seeds_needed=seeds_to_tell_apart(own, others),
    )
