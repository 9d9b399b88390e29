"""The runs of a study: each is trained once, whatever interrupts the study."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from bsscale.data import Dataset
from bsscale.errors import RecordsError, WorkerError
from bsscale.planning.stacks import Stack, make_stacks
from bsscale.records.run_record import RunRecord, read_run
from bsscale.records.writer import clear_away
from bsscale.study.seal import Seal
from bsscale.study.work import Jobs, Work, describe, write_work
from bsscale.training.recorded_run import INTERRUPTED
from bsscale.training.resume import find_start
from bsscale.training.run_trainer import RunTrainer
from bsscale.training.spec import RunSpec

__all__ = ["Runs"]

log = logging.getLogger(__name__)

# How often a start of a study tries to train a run.
ATTEMPTS = 2


class Runs:
    """Trains what is not finished yet.

    Parameters
    ----------
    directory
        The study's directory; runs that failed are moved to ``failed`` in it.
    dataset
        What all of them train on.
    workers
        What trains them on this machine.
    jobs
        What starts jobs that train them elsewhere; None: `workers` does.
    seal
        Takes in the runs that have ended; None: in a job, which leaves that to the study.

    Attributes
    ----------
    failed
        What could not be trained, twice, and why.
    first
        Told the record of the first run that is trained, before any other begins; None: nothing is.
    """

    def __init__(
        self,
        directory: Path,
        dataset: Dataset,
        workers: RunTrainer,
        jobs: Jobs | None = None,
        seal: Seal | None = None,
    ) -> None:
        self._directory = directory
        self._dataset, self._workers = dataset, workers
        self._jobs, self._seal = jobs, seal
        self.failed: list[str] = []
        self.first: Callable[[RunRecord], None] | None = None
        # How often each run has failed in this start.
        self._failures: Counter[Path] = Counter()

    def train(self, specs: Sequence[RunSpec]) -> list[RunRecord | None]:
        """Train runs, and give the record of each; None for one that failed twice.

        Notes
        -----
        Stacks are made of all of `specs`, the finished ones too: a run has the same slot, and so
        the same numbers, however many of the others were trained by an earlier start.
        """
        if self._jobs is not None:
            stacks = make_stacks([spec.plan for spec in specs])
            self._train_by_jobs(self._jobs, specs, stacks)
        else:
            self.train_here(specs)
        records = [self._record(spec) for spec in specs]
        if self._seal is not None:
            ended = zip(specs, records, strict=True)
            self._seal.trained(spec.directory for spec, record in ended if record is not None)
        return records

    def train_here(self, specs: Sequence[RunSpec]) -> None:
        """Train what is not finished, on this machine."""
        for _ in range(ATTEMPTS):  # a run that fails is tried once more
            finished = {k for k, spec in enumerate(specs) if self._finished(spec)}
            if len(finished) == len(specs):
                break
            if self.first is not None:
                finished |= self._train_first(specs, finished)
            results = self._workers.train(specs, [self._dataset] * len(specs), finished)
            for number, result in results.items():
                directory = specs[number].directory
                if isinstance(result, WorkerError):  # (tried twice already)
                    self._failures[directory] = ATTEMPTS
                elif self._failed(specs[number]):
                    self._failures[directory] += 1

    def _train_first(self, specs: Sequence[RunSpec], finished: Collection[int]) -> set[int]:
        """Train the first run that is due, alone, and give its number; raises its error.

        A script that does not work is found out by one run, not by all of them.
        """
        number = min(set(range(len(specs))) - set(finished))
        others = set(range(len(specs))) - {number}
        result = self._workers.train(specs, [self._dataset] * len(specs), others)[number]
        if isinstance(result, Exception):
            raise result
        assert self.first is not None
        self.first(result)
        self.first = None
        return {number}

    def _train_by_jobs(self, jobs: Jobs, specs: Sequence[RunSpec], stacks: Sequence[Stack]) -> None:
        """Each stack by a job; what is in the runs' directories is the jobs' to clear away."""
        for _ in range(2):  # a job that is lost, with its node for instance, is started once more
            due = [
                number
                for number, stack in enumerate(stacks)
                if not all(self._settled(specs[member]) for member in stack.members)
            ]
            if not due:
                break
            study, head = specs[0].study, specs[0].study_head
            described = [describe(spec, self._directory) for spec in specs]
            work = Work(study, described, study_head=head)
            jobs.carry_out(write_work(self._directory, work), due)

    def _finished(self, spec: RunSpec) -> bool:
        """Whether nothing is left to do; a run that was interrupted goes on by itself."""
        if not (spec.directory / "run.json").exists():
            return False
        try:
            record = read_run(spec.directory)
        except RecordsError as error:
            raise type(error)(
                error.fact, "move that directory away, or give another task.directory"
            ) from error
        if record.status != "failed":
            find_start(spec.directory, spec.plan)  # refuses another run, or one of other data
            return True
        if record.reason == INTERRUPTED:
            return False
        if self._failures[spec.directory] == ATTEMPTS:
            return True
        aside = self._aside(spec)
        aside.parent.mkdir(parents=True, exist_ok=True)
        spec.directory.rename(aside)
        return False

    def _failed(self, spec: RunSpec) -> bool:
        try:
            record = read_run(spec.directory)
        except RecordsError:
            return False
        return record.status == "failed" and record.reason != INTERRUPTED

    def _settled(self, spec: RunSpec) -> bool:
        """Whether nothing is left to do; changes nothing."""
        try:
            record = read_run(spec.directory)
        except RecordsError:
            return False
        return record.status != "failed"

    def _aside(self, spec: RunSpec) -> Path:
        """Where the records of a failed run are kept, each attempt's own."""
        path = self._directory / "failed" / spec.directory.relative_to(self._directory)
        attempts = sum(1 for _ in path.parent.glob(f"{path.name}*")) if path.parent.exists() else 0
        return path if attempts == 0 else path.with_name(f"{path.name}-{attempts + 1}")

    def _record(self, spec: RunSpec) -> RunRecord | None:
        try:
            record = read_run(spec.directory)
        except RecordsError as error:
            self.failed.append(f"{spec.directory.relative_to(self._directory)}: {error.fact}")
            return None
        if record.status == "failed":
            self.failed.append(f"{spec.directory.relative_to(self._directory)}: {record.reason}")
            return None
        clear_away(spec.directory)
        return record
