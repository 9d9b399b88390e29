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
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from bsscale.config import Config
from bsscale.config.objectives import build_objective
from bsscale.data import Dataset
from bsscale.errors import ConfigError, RecordsError
from bsscale.files.locks import hold
from bsscale.files.replace import remove_unfinished
from bsscale.planning.devices import Devices
from bsscale.records.chain import NAMES, digest
from bsscale.records.run_record import RunRecord
from bsscale.records.study_record import Cost, StudyRecord
from bsscale.report.base_lr import base_lr_words
from bsscale.report.plan import describe_look
from bsscale.schedules.options import FixedConfig
from bsscale.schedules.options.given import make_schedule
from bsscale.stats.search import Search
from bsscale.study.arms import Arm
from bsscale.study.configure import Settled, Tuned, flat_ends, searches, tune_arms
from bsscale.study.looks import make_look
from bsscale.study.plan import StudyPlan
from bsscale.study.presets import Preset, range_test_of_study, read_preset
from bsscale.study.registration import open_study
from bsscale.study.rules import budget_samples, pass_of_study, search_rules
from bsscale.study.runs import Runs
from bsscale.study.seal import Seal
from bsscale.study.spent import spent_samples
from bsscale.study.tuning import Judge, Tuner, Tuning
from bsscale.study.work import Jobs, Work, write_work
from bsscale.terminal.numbers import metric_number
from bsscale.terminal.words import counted
from bsscale.tracking.tracker import mirror_comparison
from bsscale.training.spec import RunSpec
from bsscale.workers.trainers import trainer_of

__all__ = ["Stages", "study"]

log = logging.getLogger(__name__)


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
    return _Study(config, dataset, logs, jobs, stages, answers).carry_out()


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


class _Study:
    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        logs: Mapping[str, Any] | None = None,
        jobs: Jobs | None = None,
        stages: Stages | None = None,
        answers: bool = True,
    ) -> None:
        devices = Devices.here(shared=True) if jobs is None else jobs.devices
        self.workers = trainer_of(config).workers(config.workers, devices)
        self.stages, self.answers = stages, answers
        order = () if stages is None else stages.order
        self.plan = StudyPlan(config, dataset, devices, logs, order)
        self.config, self.dataset, self.logs, self.jobs = self.plan.config, dataset, logs, jobs
        self.task, self.arms = self.plan.task, self.plan.arms
        self.metric = build_objective(config.objective).metric(config.metric)
        self.chance = self.metric.chance(dataset.validation.label)
        self.directory, self.specs = self.plan.directory, self.plan.specs

    def carry_out(self) -> StudyRecord:
        """All steps; what earlier starts have finished is read back."""
        self.started = time.monotonic()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the study's directory {self.directory} cannot be written: {error.strerror}",
                "give task.directory=PATH",
            ) from error
        busy = ConfigError(
            f"another process is carrying out the study in {self.directory}",
            "let it end, or give task.directory=PATH",
        )
        lock = hold(self.directory / ".lock", busy)
        try:
            remove_unfinished(self.directory)
            with self.workers:
                return self._carry_out()
        finally:
            if lock is not None:
                lock.release()

    def _carry_out(self) -> StudyRecord:
        command = shlex.join(_command())
        self.file = open_study(self.directory, self.plan.registered(), command)
        self.seal = Seal(self.directory, self.file, self.specs)
        self.runs = Runs(self.directory, self.dataset, self.workers, self.jobs, self.seal)
        if not self.config.trainer.ours:
            self.runs.first = self._say_measured
        self.judge = Judge(self.metric, self.chance)
        seeds = self.task.tuning_seed_list()
        self.tuner = Tuner(self.runs, self.specs, seeds, self.judge)
        self.plan.budget_samples, self.plan.seeds = self.file.budget_samples, len(self.file.seeds)
        self.before_s = self.file.cost.wall_s
        self.before_samples = spent_samples(self.directory)
        log.info("study  %s (registered as %s)", self.directory, self.file.hash)
        try:
            one_gpu = self._tune_at_one_gpu()
            self.target, self.budget = self._fix_target(one_gpu)
            self.base_lr = self._rank_by_target(one_gpu)
            self._settle_one_gpu()
            records = self._run_arms(self._settle_arms(self._configure(one_gpu)))
        finally:
            self._save()
        self._report(records)
        if self.runs.failed:
            listed = "; ".join(self.runs.failed)
            raise RecordsError(
                f"{len(self.runs.failed)} of the study's runs failed: {listed}",
                "look at their logs; the same command trains them again",
            )
        return self.file

    # -- the steps -------------------------------------------------------------------------------

    def _tune_at_one_gpu(self) -> Tuning | None:
        """The search for base_lr; None where it is given."""
        if self.config.base_lr is not None:
            self._step(2, f"base_lr {self.config.base_lr:g} (given)")
            return None
        self._step(2, f"tuning base_lr at 1 GPU: {self.task.trials} rates, one pass each")
        found = Tuning(
            name="one_gpu",
            gpus=1,
            schedule=FixedConfig(),
            base_lr=1.0,
            target=self.config.target,
            stops=False,
            budget=self.specs.trial_pass,
            search=Search(search_rules(self.task), *self.plan.searched()),
        )
        self.tuner.carry_out([found])
        if found.target is None:
            found.provisional = found.search.best.lr
        return found

    def _rank_by_target(self, one_gpu: Tuning | None) -> float:
        """base_lr by the objective of all searches: samples to the target."""
        if one_gpu is None:
            assert self.config.base_lr is not None
            base_lr = self.config.base_lr
        else:
            if one_gpu.provisional is not None:
                one_gpu.target = self.target
                one_gpu.judge(self.judge)
                self.tuner.carry_out([one_gpu])
            self._note(one_gpu)
            base_lr = one_gpu.search.best.lr
            moved = one_gpu.provisional not in (None, base_lr)
            log.info(
                "base_lr  %g%s",
                base_lr,
                f" (moved from {one_gpu.provisional:g}, by samples to the target)" if moved else "",
            )
        self.file.base_lr = base_lr
        return base_lr

    def _note(self, *tunings: Tuning) -> None:
        """Write down what searches have found."""
        names = {tuning.name for tuning in tunings}
        kept = [each for each in self.file.tunings if each.name not in names]
        self.file.tunings = kept + [tuning.record() for tuning in tunings]
        self._save()

    def _fix_target(self, one_gpu: Tuning | None) -> tuple[float, int]:
        """The target and the budget, from 1-GPU runs on seeds that nothing else sees."""
        rate = self.config.base_lr if one_gpu is None else one_gpu.search.best.lr
        assert rate is not None
        seeds = self.task.target_seed_list()
        self._step(3, f"the target: {len(seeds)} runs at 1 GPU, one pass each")
        specs = [
            self.specs.run(
                Path("target") / f"seed-{seed}",
                "target",
                FixedConfig(),
                gpus=1,
                rate=rate,
                seed=seed,
                target=None,
                budget=self.specs.one_pass,
            )
            for seed in seeds
        ]
        records = self.runs.train(specs)
        specs = [spec for spec, record in zip(specs, records, strict=True) if record is not None]
        best = [r.best_value for r in records if r is not None and r.best_value is not None]
        metric, label = self.metric, self.dataset.validation.label
        if not best:
            raise ConfigError(
                f"no run at 1 GPU has a value of {metric.title}, so that there is no target",
                "look at their logs, or give target=VALUE and base_lr=RATE",
            )
        target = self.config.target
        self.margin: float | None = None
        if target is None:
            margin = self.task.margin
            margin = metric.default_margin(best, label) if margin is None else margin
            target, self.margin = metric.target(best, margin), margin
        chance = metric.chance(label)
        if chance is not None and metric.reaches(chance, target):
            raise ConfigError(
                f"the runs at 1 GPU give a target of {metric_number(target)}, which is no better "
                "than chance",
                "give base_lr=RATE at which the model learns, or target=VALUE",
            )
        budget = self.config.budget_samples or self._budget(specs, target)
        self.file.target, self.file.budget_samples = target, budget
        self.plan.budget_samples = budget
        self._save()
        log.info(
            "target  %s %s, budget %s samples a run",
            metric.title,
            metric_number(target),
            f"{budget:,}",
        )
        return target, budget

    def _configure(self, one_gpu: Tuning | None) -> dict[str, Tuned]:
        """How each arm trains, before any of them is run."""
        self._step(4, "configuring the arms: range tests and tuned controls")
        presets = {gpus: self._preset(gpus) for gpus in self.plan.range_tests()}
        self.file.presets = [preset.record(gpus) for gpus, preset in presets.items()]
        settled = Settled(self.base_lr, self.target, self.budget)
        tunings = searches(self.plan, settled)
        if tunings:
            log.info("tuning %s: %d rates each", ", ".join(tunings), self.task.trials)
            at_least = 0 if one_gpu is None else one_gpu.search.tried
            self.tuner.carry_out(list(tunings.values()), at_least)
            self._note(*tunings.values())
        if one_gpu is not None:
            ends = flat_ends(self.plan, self.runs, self.judge, one_gpu, settled)
            self.file.flat_ends = ends
            for name, words in base_lr_words(self.file).items():
                log.info("%s: %s", name, words)
        self._save()
        tuned = tune_arms(self.plan, tunings, self.base_lr)
        for arm in self.arms:
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

    def _settle_one_gpu(self) -> None:
        """Settle what follows from the runs at 1 GPU; what an earlier start has settled holds."""
        self._refuse_failed()
        settled = self.seal.settle(
            {
                **self._found(),
                "base_lr": self.base_lr,
                "target": self.target,
                "margin": self.margin,
                "budget_samples": self.budget,
            }
        )
        self.base_lr, self.target = settled["base_lr"], settled["target"]
        self.budget = self.plan.budget_samples = settled["budget_samples"]

    def _settle_arms(self, tuned: Mapping[str, Tuned]) -> dict[str, Tuned]:
        """Settle how every arm trains; what was settled before holds."""
        self._refuse_failed()
        wanted = {f"arm {name}": each.settled() for name, each in tuned.items()}
        settled = self.seal.settle({**self._found(), **wanted})
        made = dict(tuned)
        for name, each in tuned.items():
            held = settled[f"arm {name}"]
            if held != each.settled():
                schedule = make_schedule(held["schedule"])
                made[name] = Tuned(schedule, held["base_lr"], held.get("momentum"))
        return made

    def _refuse_failed(self) -> None:
        """Raise RecordsError where a decision would follow from some of its runs only."""
        if self.runs.failed:
            raise RecordsError(
                f"{len(self.runs.failed)} of the runs that decide the rates and the target failed: "
                f"{'; '.join(self.runs.failed)}",
                "look at their logs; the same command trains them again, and goes on from there",
            )

    def _found(self) -> dict[str, str]:
        """What searches and range tests have found, as the chain has it."""
        parts = msgspec.to_builtins({field: getattr(self.file, field) for field in NAMES})
        return {NAMES[field](each): digest(each) for field in NAMES for each in parts[field]}

    def _run_arms(self, tuned: Mapping[str, Tuned]) -> list[RunRecord | None]:
        seeds, looks = self.file.seeds, self.file.registered.looks
        records: list[RunRecord | None] = []
        for first, last in pairwise((0, *(looks or [len(seeds)]))):
            self._step(5, f"{len(self.arms)} arms x {last} seeds")
            for group in self.plan.groups:
                records += self._run_group(group, seeds[first:last], tuned)
                if self.stages is not None and group is not self.plan.groups[-1]:
                    trained = [record for record in records if record is not None]
                    if len(trained) < len(records):  # the same command trains the others first
                        break
                    known, found = self.file.settled, self.stages.decide(trained)
                    self.seal.settle({k: v for k, v in found.items() if k not in known})
            if looks and self._stops(records, last):
                break
        self.file.deviations = [
            *(f"not trained: {failure}" for failure in self.runs.failed),
            *self.seal.deviations,
        ]
        return records

    def _run_group(
        self, group: Sequence[Arm], seeds: Sequence[int], tuned: Mapping[str, Tuned]
    ) -> list[RunRecord | None]:
        return self.runs.train(
            [
                self.specs.run(
                    Path("runs") / arm.name / f"seed-{seed}",
                    arm.name,
                    tuned[arm.name].schedule,
                    gpus=arm.gpus,
                    rate=tuned[arm.name].base_lr,
                    seed=seed,
                    target=self.target,
                    budget=self.budget,
                    scaling=arm.scaling,
                    momentum=tuned[arm.name].momentum,
                    tracker=self.config.tracker,
                )
                for arm in group
                for seed in seeds
            ]
        )

    def _stops(self, records: Sequence[RunRecord | None], seeds: int) -> bool:
        """Look at the runs, by the registered rule: whether the study stops."""
        trained = [record for record in records if record is not None]
        if len(trained) < len(records):  # the same command trains the others, and looks then
            return True
        look = self.seal.looked(make_look(self.file, trained, seeds))
        log.info("%s", describe_look(look))
        return look["next_seeds"] is None

    def _report(self, records: Sequence[RunRecord | None]) -> None:
        from bsscale.report.closing import closing_lines, closing_table
        from bsscale.report.write import write_report

        self._step(6, "the report")
        baseline = next(arm.name for arm in self.arms if arm.role == "baseline")
        report = write_report([self.directory], self.directory / "report", baseline)
        if self.answers:
            log.info("\n%s\n", closing_table(report.comparison))
            log.info("%s", closing_lines(report.answers, report.files[0]))
        mirror_comparison(
            self.config.tracker, self.directory, self.directory / "report" / "report.json"
        )

    # -- what they are made of -------------------------------------------------------------------

    def _preset(self, gpus: int) -> Preset:
        """What a range test at `gpus` says."""
        if read_preset(self.config, self.directory, gpus) is None:
            if self.jobs is None:
                range_test_of_study(
                    self.config, self.dataset, self.directory, gpus, self.logs, self.workers
                )
            else:
                work = Work(self.file.hash, [], gpus, self.file.head)
                self.jobs.carry_out(write_work(self.directory, work), [0])
        found = read_preset(self.config, self.directory, gpus)
        if found is None:
            raise ConfigError(
                f"the job of the range test at {counted(gpus, 'GPU')} has ended without a result",
                f"look at its logs, in {self.directory / 'jobs'}",
            )
        return found

    def _budget(self, specs: Sequence[RunSpec], target: float) -> int:
        """The budget of an arm in samples: enough to measure that it is several times slower."""
        of_script = not self.config.trainer.ours
        reached = [self.judge.samples_to(each.directory, target, of_script) for each in specs]
        return budget_samples(
            reached,
            self.task.budget_factor,
            pass_of_study(self.dataset),
            self.specs.eval_interval_samples,
        )

    def _step(self, number: int, text: str) -> None:
        """Log the next step, the cost so far, and the maximum cost that is left."""
        spent, elapsed = spent_samples(self.directory), time.monotonic() - self.started
        cost = f"{spent:,} samples, {elapsed:.0f} s so far"
        trained = spent - self.before_samples
        if trained > 0:  # in this start: now the speed is known
            left_s = self.plan.most_samples_from(number) / (trained / elapsed)
            cost += f", at most {left_s / 60:.0f} min left"
        self.workers.step = f"study {number}/6"
        log.info("\n%s  %s\n%s", self.workers.step, text, cost)

    def _say_measured(self, record: RunRecord) -> None:
        """The cost again, after the first finished run."""
        if record.samples_per_s is not None:
            log.info(
                "measured: %s samples/s; the study takes %s",
                f"{record.samples_per_s:,.0f}",
                self.plan.most(record.samples_per_s).words(),
            )

    def _save(self) -> None:
        wall_s = self.before_s + time.monotonic() - self.started
        self.file.cost = Cost(spent_samples(self.directory), wall_s)
        self.seal.write()


def _command() -> list[str]:
    return ["python", "-m", "bsscale", *sys.argv[1:]]
