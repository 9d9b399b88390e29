"""A study while a process carries it out."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from bsscale.records.study_record import Cost
from bsscale.study.plan import StudyPlan
from bsscale.study.registration import open_study
from bsscale.study.runs import Runs
from bsscale.study.seal import Seal
from bsscale.study.spent import spent_samples
from bsscale.study.tuning import Judge, Tuner, Tuning
from bsscale.study.work import Jobs
from bsscale.workers.trainers import trainer_of

__all__ = ["Session"]

log = logging.getLogger(__name__)


class Session:
    """A study's plan, its records, and what trains its runs.

    Parameters
    ----------
    config, dataset, logs, jobs
        As of `study`.
    order
        The names of the arms in each group that is trained; empty: all together.

    Attributes
    ----------
    plan, config, task, arms, specs, directory
        What is to be done.
    metric, judge
        What judges runs.
    workers, runs, tuner
        What trains them; the last two while it is `open`.
    file, seal
        study.json, and what extends its chain; while it is `open`.

    Raises
    ------
    ConfigError
        For a study that compares nothing.
    """

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        logs: Mapping[str, Any] | None,
        jobs: Jobs | None,
        order: Sequence[Sequence[str]],
    ) -> None:
        devices = Devices.here(shared=True) if jobs is None else jobs.devices
        self.workers = trainer_of(config).workers(config.workers, devices)
        self.plan = StudyPlan(config, dataset, devices, logs, order)
        self.config, self.dataset, self.logs, self.jobs = self.plan.config, dataset, logs, jobs
        self.task, self.arms = self.plan.task, self.plan.arms
        self.metric = build_objective(config.objective).metric(config.metric)
        held_out = dataset.validation
        self.judge = Judge(self.metric, self.metric.chance(held_out.label, held_out.weight))
        self.directory, self.specs = self.plan.directory, self.plan.specs

    @contextmanager
    def open(self) -> Iterator[None]:
        """Register the study, or find it registered, and hold its directory and its workers."""
        self._started = time.monotonic()
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
                self._register()
                yield
        finally:
            if lock is not None:
                lock.release()

    def _register(self) -> None:
        command = shlex.join(["python", "-m", "bsscale", *sys.argv[1:]])
        self.file = open_study(self.directory, self.plan.registered(), command)
        self.seal = Seal(self.directory, self.file, self.specs)
        self.runs = Runs(self.directory, self.dataset, self.workers, self.jobs, self.seal)
        if not self.config.trainer.ours:
            self.runs.first = self._say_measured
        self.tuner = Tuner(
            self.runs,
            self.specs,
            self.task.tuning_seed_list(),
            self.judge,
            self.plan.stops_hopeless,
        )
        self.plan.budget_samples, self.plan.seeds = self.file.budget_samples, len(self.file.seeds)
        self._before_s = self.file.cost.wall_s
        self._before_samples = spent_samples(self.directory)
        log.info("study  %s (registered as %s)", self.directory, self.file.hash)

    def step(self, number: int, text: str) -> None:
        """Log the next step, the cost so far, and the maximum cost that is left."""
        spent, elapsed = spent_samples(self.directory), time.monotonic() - self._started
        cost = f"{spent:,} samples, {elapsed:.0f} s so far"
        trained = spent - self._before_samples
        if trained > 0:  # in this start: now the speed is known
            left_s = self.plan.most_samples_from(number) / (trained / elapsed)
            cost += f", at most {left_s / 60:.0f} min left"
        self.workers.step = f"study {number}/6"
        log.info("\n%s  %s\n%s", self.workers.step, text, cost)

    def save(self) -> None:
        """Write study.json."""
        wall_s = self._before_s + time.monotonic() - self._started
        self.file.cost = Cost(spent_samples(self.directory), wall_s)
        self.seal.write()

    def note(self, *tunings: Tuning) -> None:
        """Write down what searches have found."""
        names = {tuning.name for tuning in tunings}
        kept = [each for each in self.file.tunings if each.name not in names]
        self.file.tunings = kept + [tuning.record() for tuning in tunings]
        self.save()

    def settle(self, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        """Settle decisions, with what searches and range tests have found.

        Returns
        -------
        Everything that is settled; what an earlier start has settled holds.

        Raises
        ------
        RecordsError
            Where a decision would follow from some of its runs only.
        """
        if self.runs.failed:
            raise RecordsError(
                f"{len(self.runs.failed)} of the runs that decide the rates and the target failed: "
                f"{'; '.join(self.runs.failed)}",
                "look at their logs; the same command trains them again, and goes on from there",
            )
        parts = msgspec.to_builtins({field: getattr(self.file, field) for field in NAMES})
        found = {NAMES[field](each): digest(each) for field in NAMES for each in parts[field]}
        return self.seal.settle({**found, **wanted})

    def _say_measured(self, record: RunRecord) -> None:
        """The cost again, after the first finished run."""
        if record.samples_per_s is not None:
            log.info(
                "measured: %s samples/s; the study takes %s",
                f"{record.samples_per_s:,.0f}",
                self.plan.most(record.samples_per_s).words(),
            )
