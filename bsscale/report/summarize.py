"""Arms compared: the statistics of each arm's runs, and its ratio to a baseline."""

from __future__ import annotations

import bisect
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from bsscale.report.comparison import STATUSES, ArmSummary, Comparison, CurvePoint, SeedResult
from bsscale.report.ratios import with_ratios
from bsscale.report.read import FoundRun, LeftOut, Sources, read_runs
from bsscale.stats import KaplanMeier, kaplan_meier, rate, spread

__all__ = ["QUARTILES_FROM", "compare", "median_curve", "summarize"]

# What runs that differ in their seed alone share: study, arm, target, and what they are judged by.
Key: TypeAlias = tuple[str, str, float | None, str]

# From so many runs on, a band is the middle half of them; of fewer, all.
QUARTILES_FROM = 4
# Longest label, in characters: as much as fits in a legend on a phone.
LONGEST_LABEL = 44


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
        one GPU, else the only one there with a fixed rate, else none; of the arms with the same
        target, in the same study.

    Raises
    ------
    RecordsError
        If no arm is called `baseline`.
    """
    set_aside = list(sources.set_aside)
    groups: dict[Key, list[FoundRun]] = defaultdict(list)
    for run in _without_duplicates(sources.runs, set_aside):
        groups[_key(run)].append(run)
    labels = _labels(groups, several_studies=len(sources.studies) > 1)
    arms = [_arm(groups[key], *labels[key]) for key in groups]
    arms = _in_registered_order(arms, sources)
    arms, families = with_ratios(arms, baseline)
    return Comparison(tuple(arms), tuple(sources.failed), tuple(set_aside), tuple(families))


def _without_duplicates(runs: Iterable[FoundRun], set_aside: list[LeftOut]) -> list[FoundRun]:
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
    """The key of the arm of a run: in a study the name, otherwise the hash."""
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
            # The paths distinguish two studies of the same name.
            label = (
                f"{study.directory if study.record.name in twice else study.record.name}: {label}"
            )
        full[key] = label
    for label, times in Counter(full.values()).items():
        same = [key for key, each in full.items() if each == label] if times > 1 else []
        targets, judged = {key[2] for key in same}, {key[3] for key in same}
        metrics = {each.split()[0] for each in judged}
        for position, key in enumerate(same):
            own = key[1][:6]
            if len(metrics) == len(same):
                own = f"metric={key[3].split()[0]}"
            elif len(targets) == len(same):
                own = f"target={key[2]}"
            elif len(judged) == len(same):  # (the metric, and eight digits of the data's key)
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
        # Shorten labels so that the distinguishing part stays.
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
    best_values = [run.record.best_value for run in trained if run.record.best_value is not None]
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
    # A run may diverge after it has reached its target.
    diverged = sum(result.status == "diverged" and math.isinf(result.samples) for result in seeds)
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
        median_best_value=statistics.median(best_values) if best_values else None,
        curve=_curve([run for run in trained if run.evals]),
        runs=tuple(runs),
        divergence=rate(diverged, len(seeds)) if seeds else None,
    )


def _survival(runs: Sequence[FoundRun]) -> KaplanMeier:
    """The Kaplan-Meier curve of some runs.

    A run that missed the target needs more than its samples; a diverged one, more than its budget.
    """
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
    return median_curve(
        [(p.samples, p.metrics.get(run.record.metric)) for p in run.evals] for run in runs
    )


def median_curve(
    runs: Iterable[Sequence[tuple[int, float | None]]],
) -> tuple[CurvePoint, ...]:
    """The median of some runs over samples, and the band around it.

    Parameters
    ----------
    runs
        Of each run the samples, ascending, and the value there, None where it has none. A run
        keeps its last value.
    """
    curves = []
    for run in runs:
        points = [(samples, value) for samples, value in run if value is not None]
        if points:
            curves.append(([samples for samples, _ in points], [value for _, value in points]))
    made = []
    for samples in sorted({each for grid, _ in curves for each in grid}):
        known = [
            values[position - 1]
            for grid, values in curves
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
