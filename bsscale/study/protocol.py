"""The protocol of a study, in the order in which it happens.

1. Register: arms, seeds, rules and stacks are written down with a hash.
2. Tune base_lr at 1 GPU, on seeds of its own: a provisional one, because there is no target yet.
3. Fix the target and the budget by more runs at 1 GPU, on seeds of their own. Then rank the rates
   at 1 GPU by their samples to the target; base_lr may move once, the target never does.
4. Configure: a range test for each cycle, and a search with as many rates for each tuned control.
5. Run every arm on the same seeds.
6. Report.

No step before step 5 uses a report seed, and no decision is made after step 5 has begun.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from bsscale.config import Config
from bsscale.data import Dataset
from bsscale.errors import ConfigError, RecordsError
from bsscale.records.run_record import RunRecord
from bsscale.records.study_record import StudyRecord
from bsscale.report.base_lr import base_lr_words
from bsscale.report.plan import describe_look
from bsscale.schedules.options.given import make_schedule
from bsscale.study.adoption import adopt
from bsscale.study.arms import Arm
from bsscale.study.configure import Settled, Tuned, flat_ends, searches, tune_arms
from bsscale.study.looks import make_look
from bsscale.study.one_gpu import settle_one_gpu
from bsscale.study.presets import Preset, range_test_of_study, read_preset
from bsscale.study.session import Session
from bsscale.study.tuning import Tuning
from bsscale.study.work import Jobs, Work, write_work
from bsscale.terminal.words import counted
from bsscale.tracking.tracker import mirror_comparison

__all__ = ["Stages", "study"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stages:
    """Arms that are trained one group after the other, with decisions in between.

    Attributes
    ----------
    order
        The names of the arms in each group.
    decide
        From the records of the groups before: decisions by their names, which go into the chain of
        the study before the next group is trained. What an earlier start has decided holds.
    """

    order: Sequence[Sequence[str]]
    decide: Callable[[Sequence[RunRecord]], Mapping[str, Any]]


def study(
    config: Config,
    dataset: Dataset,
    logs: Mapping[str, Any] | None = None,
    jobs: Jobs | None = None,
    stages: Stages | None = None,
    answers: bool = True,
) -> StudyRecord:
    """Carry out a study, or what is left of it.

    Parameters
    ----------
    config
        The run at N GPUs that the question is about; its task is a `StudyOptions`.
    dataset
        Its data.
    logs
        The logging configuration, for processes that a run starts.
    jobs
        What starts jobs that train; None: this process trains.
    stages
        In which groups the arms are trained; None: all together.
    answers
        Whether it ends with its table and its answer; false where another task has its own.

    Returns
    -------
    What was registered and settled; the records lie in its directory.

    Raises
    ------
    BsscaleError
        If it cannot be carried out as configured, or its directory holds another one.
    """
    order = () if stages is None else stages.order
    session = Session(config, dataset, logs, jobs, order)
    with session.open():
        try:
            settled, one_gpu = settle_one_gpu(session)
            adopted = adopt(session, settled)
            tuned = _settle_arms(session, _configure(session, settled, one_gpu))
            _run_arms(session, settled, tuned, adopted, stages)
        finally:
            session.save()
        _report(session, answers)
        if failed := session.runs.failed:
            raise RecordsError(
                f"{len(failed)} of the study's runs failed: {'; '.join(failed)}",
                "look at their logs; the same command trains them again",
            )
        return session.file


def _configure(study: Session, settled: Settled, one_gpu: Tuning | None) -> dict[str, Tuned]:
    """How each arm trains, before any of them is run."""
    study.step(4, "configuring the arms: range tests and tuned controls")
    presets = {gpus: _preset(study, gpus) for gpus in study.plan.range_tests()}
    study.file.presets = [preset.record(gpus) for gpus, preset in presets.items()]
    tunings = searches(study.plan, settled)
    if tunings:
        log.info("tuning %s: %d rates each", ", ".join(tunings), study.task.trials)
        at_least = 0 if one_gpu is None else one_gpu.search.tried
        study.tuner.carry_out(list(tunings.values()), at_least)
        study.note(*tunings.values())
    if one_gpu is not None:
        ends = flat_ends(study.plan, study.runs, study.judge, one_gpu, settled)
        study.file.flat_ends = ends
        for name, words in base_lr_words(study.file).items():
            log.info("%s: %s", name, words)
    study.save()
    tuned = tune_arms(study.plan, tunings, settled.base_lr)
    for arm in study.arms:
        suggestion = presets[arm.gpus].suggestion if arm.preset else None
        if suggestion is not None:
            tuned[arm.name] = replace(tuned[arm.name], schedule=suggestion)
        elif arm.preset:
            log.warning(
                "warning: %s has the untuned defaults of its schedule: the range test at %s "
                "suggests nothing, %s",
                arm.name, counted(arm.gpus, "GPU"), presets[arm.gpus].reason,
            )  # fmt: skip
    return tuned


def _preset(study: Session, gpus: int) -> Preset:
    """What a range test at `gpus` says."""
    if read_preset(study.config, study.directory, gpus) is None:
        if study.jobs is None:
            range_test_of_study(
                study.config, study.dataset, study.directory, gpus, study.logs, study.workers
            )
        else:
            work = Work(study.file.hash, [], gpus, study.file.head)
            study.jobs.carry_out(write_work(study.directory, work), [0])
    found = read_preset(study.config, study.directory, gpus)
    if found is None:
        raise ConfigError(
            f"the job of the range test at {counted(gpus, 'GPU')} has ended without a result",
            f"look at its logs, in {study.directory / 'jobs'}",
        )
    return found


def _settle_arms(study: Session, tuned: Mapping[str, Tuned]) -> dict[str, Tuned]:
    """Settle how every arm trains; what was settled before holds."""
    settled = study.settle({f"arm {name}": each.settled() for name, each in tuned.items()})
    made = dict(tuned)
    for name, each in tuned.items():
        held = settled[f"arm {name}"]
        if held != each.settled():
            schedule = make_schedule(held["schedule"])
            made[name] = Tuned(schedule, held["base_lr"], held.get("momentum"))
    return made


def _run_arms(
    study: Session,
    settled: Settled,
    tuned: Mapping[str, Tuned],
    adopted: Sequence[RunRecord],
    stages: Stages | None,
) -> None:
    """Train every arm on the same seeds, as many as the looks take."""
    seeds, looks = study.file.seeds, study.file.registered.looks
    records: list[RunRecord | None] = []
    for first, last in pairwise((0, *(looks or [len(seeds)]))):
        study.step(5, f"{sum(map(len, study.plan.groups))} arms x {last} seeds")
        records += [record for record in adopted if record.seed in seeds[first:last]]
        for group in study.plan.groups:
            records += _run_group(study, settled, tuned, group, seeds[first:last])
            if stages is not None and group is not study.plan.groups[-1]:
                trained = [record for record in records if record is not None]
                if len(trained) < len(records):  # the same command trains the others first
                    break
                known, found = study.file.settled, stages.decide(trained)
                study.seal.settle({k: v for k, v in found.items() if k not in known})
        if looks and _stops(study, records, last):
            break
    study.file.deviations = [
        *(f"not trained: {failure}" for failure in study.runs.failed),
        *study.seal.deviations,
    ]


def _run_group(
    study: Session,
    settled: Settled,
    tuned: Mapping[str, Tuned],
    group: Sequence[Arm],
    seeds: Sequence[int],
) -> list[RunRecord | None]:
    return study.runs.train(
        [
            study.specs.run(
                Path("runs") / arm.name / f"seed-{seed}",
                arm.name,
                tuned[arm.name].schedule,
                gpus=arm.gpus,
                rate=tuned[arm.name].base_lr,
                seed=seed,
                target=settled.target,
                budget=settled.budget_samples,
                scaling=arm.scaling,
                own=arm.own,
                momentum=tuned[arm.name].momentum,
                tracker=study.config.tracker,
            )
            for arm in group
            for seed in seeds
        ]
    )


def _stops(study: Session, records: Sequence[RunRecord | None], seeds: int) -> bool:
    """Look at the runs, by the registered rule: whether the study stops."""
    trained = [record for record in records if record is not None]
    if len(trained) < len(records):  # the same command trains the others, and looks then
        return True
    look = study.seal.looked(make_look(study.file, trained, seeds))
    log.info("%s", describe_look(look))
    return look["next_seeds"] is None


def _report(study: Session, answers: bool) -> None:
    from bsscale.report.closing import closing_lines, closing_table
    from bsscale.report.write import write_report

    study.step(6, "the report")
    baseline = next(arm.name for arm in study.arms if arm.role == "baseline")
    report = write_report([study.directory], study.directory / "report", baseline)
    if answers:
        log.info("\n%s\n", closing_table(report.comparison))
        log.info("%s", closing_lines(report.answers, report.files[0]))
    mirror_comparison(
        study.config.tracker, study.directory, study.directory / "report" / "report.json"
    )
