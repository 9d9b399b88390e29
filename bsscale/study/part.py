"""A job of a study: one part of a work, and nothing else of the protocol."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bsscale.config import Config
from bsscale.data import Dataset
from bsscale.files.locks import hold
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.planning.stacks import make_stacks
from bsscale.study.options import StudyOptions
from bsscale.study.presets import range_test_of_study
from bsscale.study.rules import pass_of_study
from bsscale.study.runs import Runs
from bsscale.study.specs import Specs
from bsscale.study.work import Work, read_work
from bsscale.workers.trainers import trainer_of

__all__ = ["carry_out_part", "plan_part"]

log = logging.getLogger(__name__)


def carry_out_part(config: Config, dataset: Dataset, logs: Mapping[str, Any] | None = None) -> None:
    """Carry out part ``task.part`` of ``task.work``, unless it is done already.

    Parameters
    ----------
    config, dataset, logs
        As of the study itself.
    """
    task = _task(config)
    directory, work = _directory(task), read_work(_work(task))
    # What is recorded does not depend on who trains it.
    config = replace(config, task=replace(task, work=None, part=0))
    devices = Devices.here().of_jobs()
    if work.range_test_gpus is not None:
        gpus = work.range_test_gpus
        with (
            _alone(directory, f"range test at {gpus}"),
            trainer_of(config).workers(1, devices) as workers,
        ):
            range_test_of_study(config, dataset, directory, gpus, logs, workers)
        return
    specs = _specs(config, dataset, directory, devices, work, logs)
    runs = work.specs(specs, config.tracker)
    stack = make_stacks([spec.plan for spec in runs])[task.part]
    # A study that was killed and started again may have an older job at the same runs.
    with _alone(directory, str([str(runs[number].directory) for number in stack.members])):
        mine = [runs[number] for number in stack.members]
        with trainer_of(config).workers(1, specs.devices) as workers:
            Runs(directory, dataset, workers).train_here(mine)


def plan_part(config: Config, dataset: Dataset, devices: Devices) -> Plan:
    """The numbers of a part's runs, on a machine with such devices."""
    task = _task(config)
    work = read_work(_work(task))
    specs = _specs(config, dataset, _directory(task), devices.of_jobs(), work, None)
    return work.plan(task.part, specs, config.tracker)


def _specs(
    config: Config,
    dataset: Dataset,
    directory: Path,
    devices: Devices,
    work: Work,
    logs: Mapping[str, Any] | None,
) -> Specs:
    samples, key = pass_of_study(dataset), dataset.key
    return Specs(
        config,
        samples,
        key,
        directory,
        logs,
        devices,
        study=work.study,
        study_head=work.study_head,
        evaluated_rows=len(dataset.evaluated),
    )


def _task(config: Config) -> StudyOptions:
    assert isinstance(config.task, StudyOptions)
    return config.task


def _work(task: StudyOptions) -> Path:
    assert task.work is not None
    return Path(task.work)


def _directory(task: StudyOptions) -> Path:
    """A work lies in jobs/NUMBER of its study."""
    return _work(task).absolute().parents[2]


@contextmanager
def _alone(directory: Path, what: str) -> Iterator[None]:
    """Wait until no other process is at the same."""
    locks = directory / "jobs" / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = hold(locks / hashlib.sha256(what.encode()).hexdigest()[:16], busy=None)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()
