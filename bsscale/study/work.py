"""Work of a study that jobs of a cluster carry out: a file that says what, in plain words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from bsscale.config import TrackerOptions
from bsscale.errors import RecordsError
from bsscale.files.replace import write_json
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.planning.stacks import make_stacks
from bsscale.schedules.options import CustomScheduleConfig, ScheduleConfig
from bsscale.schedules.options.given import given_options, make_schedule
from bsscale.schedules.options.scaling import given_scaling, make_scaling
from bsscale.study.arms import make_arms
from bsscale.study.options import OWN, StudyOptions
from bsscale.study.specs import Specs
from bsscale.training.spec import RunSpec

__all__ = ["Jobs", "Work", "describe", "read_work", "write_work"]


class Jobs(Protocol):
    """What starts jobs."""

    @property
    def devices(self) -> Devices:
        """What a job finds where it runs."""

    def carry_out(self, work: Path, parts: Sequence[int]) -> None:
        """Start a job for each part of a work, and wait until all have ended, well or not."""


@dataclass(frozen=True)
class Work:
    """What jobs are to do.

    Attributes
    ----------
    study, study_head
        Hash of the study that it belongs to, and of the last entry of its chain.
    runs
        Runs, as the arguments of `Specs.run`; a part is one of their stacks.
    range_test_gpus
        A range test at so many GPUs is to be made: the only part.
    """

    study: str | None
    runs: list[dict[str, Any]]
    range_test_gpus: int | None = None
    study_head: str | None = None

    def specs(self, specs: Specs, tracker: TrackerOptions) -> list[RunSpec]:
        """Its runs again."""
        return [_spec(specs, options, tracker) for options in self.runs]

    def plan(self, part: int, specs: Specs, tracker: TrackerOptions) -> Plan:
        """Of any run in a part."""
        if self.range_test_gpus is not None:
            return specs.probe(gpus=self.range_test_gpus)
        runs = self.specs(specs, tracker)
        stack = make_stacks([spec.plan for spec in runs])[part]
        return runs[stack.members[0]].plan


def describe(spec: RunSpec, directory: Path) -> dict[str, Any]:
    """A run of the study in `directory`, as plain containers."""
    config = spec.plan.config
    return {
        "where": str(spec.directory.relative_to(directory)),
        "arm": spec.arm,
        "schedule": given_options(config.schedule),
        "scaling": given_scaling(config.scaling),
        "own": {key: value for key in OWN if (value := getattr(config, key)) is not None},
        "gpus": config.gpus,
        "rate": config.base_lr,
        "seed": config.seed,
        "target": config.target,
        "budget": config.budget_samples,
        "tracked": config.tracker.name != "none",
        "momentum": spec.momentum,
        "bar": [list(each) for each in spec.bar],
    }


def _spec(specs: Specs, described: Mapping[str, Any], tracker: TrackerOptions) -> RunSpec:
    options = dict(described)
    where = Path(options.pop("where"))
    if where.is_absolute() or ".." in where.parts:
        raise RecordsError(
            f"a work names {where}, which is outside its study",
            "start the study itself again, without task.work",
        )
    bar = tuple((int(at), float(value)) for at, value in options.pop("bar", ()))
    spec = specs.run(
        where,
        options.pop("arm"),
        _schedule(specs, options.pop("schedule")),
        scaling=make_scaling(options.pop("scaling")),
        tracker=tracker if options.pop("tracked") else None,
        **options,
    )
    return replace(spec, bar=bar)


def _schedule(specs: Specs, options: Mapping[str, Any]) -> ScheduleConfig:
    """A run's schedule; what is read names no code but that which the command names as well."""
    schedule = make_schedule(options)
    task, gpus = specs.config.task, specs.config.gpus
    if isinstance(schedule, CustomScheduleConfig):
        assert isinstance(task, StudyOptions) and gpus is not None
        if schedule not in [arm.schedule for arm in make_arms(task, gpus)]:
            raise RecordsError(
                f"a run of the work has schedule._target_={schedule._target_}, which no arm of "
                "this command has",
                "start the study itself again, without task.work",
            )
    return schedule


def write_work(directory: Path, work: Work) -> Path:
    """Write a work down, in a directory of its own where its jobs have their logs.

    If the study was interrupted at the same work, it is the work of before, whose jobs may run.

    Parameters
    ----------
    directory
        The study's directory.
    """
    jobs = directory / "jobs"
    jobs.mkdir(exist_ok=True)
    last = max((int(p.name) for p in jobs.iterdir() if p.name.isdigit()), default=0)
    path = jobs / str(last) / "work.json"
    if not _holds(path, work):
        path = jobs / str(last + 1) / "work.json"
        path.parent.mkdir()
        write_json(path, work.__dict__)
    return path


def _holds(path: Path, work: Work) -> bool:
    try:
        return read_work(path) == work
    except RecordsError:
        return False


def read_work(path: Path) -> Work:
    """Read what `write_work` has written."""
    try:
        return Work(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RecordsError(
            f"{path} cannot be read: {error}", "start the study itself again, without task.work"
        ) from error
