"""The sources of a report: studies, runs and range tests, found below some directories.

Everything is read as data: nothing is imported, instantiated or unpickled. What cannot be read is
left out, and listed with the reason.
"""

from __future__ import annotations

import glob
import json
import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from bsscale.errors import FormatVersionError, RecordsError
from bsscale.objectives import Criterion
from bsscale.records.evaluation import EvalPoint, read_evals
from bsscale.records.run_record import RunRecord, read_run
from bsscale.report.read_study import FoundStudy, find_study

__all__ = [
    "FoundRangeTest",
    "FoundRun",
    "FoundStudy",
    "LeftOut",
    "Sources",
    "find",
    "matching",
    "read_runs",
]

_RUN = ("run.json", "evals.jsonl")
# What else a run, a report or W&B leaves behind: no runs are in there.
_PRUNED = {"wandb", ".hydra", "figures", "__pycache__"}


@dataclass(frozen=True)
class LeftOut:
    """A directory that is not in the comparison, or a run in it that failed, and why."""

    directory: str
    reason: str


@dataclass(frozen=True)
class FoundRun:
    """One finished run; `evals` is empty where they could not be read."""

    directory: Path
    record: RunRecord
    evals: Sequence[EvalPoint]
    study: FoundStudy | None = None


@dataclass(frozen=True)
class FoundRangeTest:
    """The result of task=range_test.

    Attributes
    ----------
    reason
        How the suggestion was derived.
    marks
        The suggestion's rates by name, and the lowest edge.
    readings
        For each reading, lowest, median and highest over the seeds.
    curves
        For each seed, its evaluations.
    criterion, loss
        What it was judged by, and the name of the metric that is the validation loss.
    gpus
        At how many it was made; None where that is not recorded.
    """

    directory: Path
    reason: str
    marks: Mapping[str, float]
    readings: Mapping[str, tuple[float, float, float]]
    curves: Mapping[str, Sequence[EvalPoint]]
    criterion: Criterion
    loss: str
    gpus: int | None = None


@dataclass
class Sources:
    """All that was found.

    Attributes
    ----------
    failed, set_aside
        Runs that failed or left no record; and what else is not shown: a curve that cannot be read,
        a directory without runs.
    commands
        What reproduces it, one command line each.
    """

    runs: list[FoundRun] = field(default_factory=list)
    studies: list[FoundStudy] = field(default_factory=list)
    range_tests: list[FoundRangeTest] = field(default_factory=list)
    failed: list[LeftOut] = field(default_factory=list)
    set_aside: list[LeftOut] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> list[LeftOut]:
        """All that is not shown."""
        return [*self.failed, *self.set_aside]

    def fail(self, directory: Path, reason: str) -> None:
        """Note a run that has no result, and why."""
        self.failed.append(LeftOut(str(directory), reason))

    def leave_out(self, directory: Path, reason: str) -> None:
        """Note why something else is not in the report."""
        self.set_aside.append(LeftOut(str(directory), reason))


def matching(patterns: Sequence[str]) -> list[Path]:
    """The directories that paths and globs name, each once, in order.

    Raises
    ------
    RecordsError
        If one names nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        paths = [path] if path.exists() else _expand(str(path))
        directories = [each for each in paths if each.is_dir()]
        if not directories:
            raise RecordsError(
                f"task.runs={pattern}: there is no such directory",
                "name a study's, a multirun's or a run's directory, several as [a,b], "
                "or a glob: 'multirun/*/*'",
            )
        found.update(dict.fromkeys(directories))
    return list(found)


def _expand(pattern: str) -> list[Path]:
    # (Path.glob takes no absolute pattern.) A multirun's jobs are called 0, 1, ..., 9, 10.
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207
    return [Path(name) for name in sorted(names, key=lambda name: (len(name), name))]


def find(paths: Iterable[Path]) -> Sources:
    """Everything below some directories.

    Parameters
    ----------
    paths
        Of studies, multiruns, range tests or runs, or of what holds them.
    """
    found = Sources()
    seen: set[Path] = set()
    for path in paths:
        before = len(found.runs) + len(found.left_out) + len(found.range_tests)
        _walk(path, found, None, seen)
        if before == len(found.runs) + len(found.left_out) + len(found.range_tests):
            reason = "is empty" if _empty(path) else "holds no run"
            found.leave_out(path, f"{path} {reason}, or only what was read already")
    found.commands = list(dict.fromkeys(found.commands))
    return found


def read_runs(directories: Iterable[Path]) -> Sources:
    """The runs of some directories, each of which has one run."""
    found = Sources()
    for directory in directories:
        _add_run(directory, found, None)
    return found


def _empty(path: Path) -> bool:
    try:
        return not any(path.iterdir())
    except OSError:
        return True


def _walk(directory: Path, found: Sources, study: FoundStudy | None, seen: set[Path]) -> None:
    real = directory.resolve()
    if real in seen:
        return
    seen.add(real)
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: (len(entry.name), entry.name))
    except OSError as error:
        found.leave_out(directory, f"{directory} cannot be read: {error.strerror or error}")
        return
    names = {entry.name for entry in entries}
    inside = [
        Path(entry.path)
        for entry in entries
        if entry.is_dir(follow_symlinks=False) and entry.name not in _PRUNED
    ]
    if "study.json" in names and study is None:
        _add_study(directory, found, seen)
    elif "range_test.json" in names:
        _add_range_test(directory, found)
    elif names & set(_RUN):
        _add_run(directory, found, study)
        _add_commands(directory, found, study)
    elif ".hydra" in names and not inside and _is_training_job(directory):
        # A job that failed before its first evaluation leaves nothing else.
        _add_run(directory, found, study)
    else:
        _add_commands(directory, found, study)
        for path in inside:
            _walk(path, found, study, seen)


def _add_study(directory: Path, found: Sources, seen: set[Path]) -> None:
    study = None
    try:
        study = find_study(directory)
        found.studies.append(study)
        found.commands += study.record.commands
    except RecordsError as error:
        found.leave_out(directory, f"{error.fact}; {error.remedy}")
    tests = sorted(path.name for path in directory.glob("range_test*") if path.is_dir())
    for name in ("runs", *tests):
        if (directory / name).is_dir():
            _walk(directory / name, found, study, seen)


def _add_run(directory: Path, found: Sources, study: FoundStudy | None) -> None:
    fault = None if study is None else study.fault_of(directory)
    if fault is not None:
        found.leave_out(directory, f"not as the study has it: {fault}")
        return
    try:
        record = read_run(directory)
    except FormatVersionError as error:
        found.leave_out(directory, f"{error.fact}: {error.remedy}")
        return
    except RecordsError as error:
        found.fail(directory, f"{error.fact}: {error.remedy}" if error.remedy else error.fact)
        return
    try:
        evals = read_evals(directory)
    except RecordsError as error:
        evals = []
        # A run that failed before its first evaluation has none, and is listed as failed.
        if record.status != "failed":
            found.leave_out(directory, f"its curve only: {error.fact}")
    if record.status == "failed":
        found.fail(directory, record.reason)
    found.runs.append(FoundRun(directory, record, evals, study))


def _add_range_test(directory: Path, found: Sources) -> None:
    path = directory / "range_test.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        found.leave_out(directory, f"{path} cannot be read: {error}")
        return
    if not isinstance(data, Mapping):
        found.leave_out(directory, f"{path} is not a range test")
        return
    curves: dict[str, Sequence[EvalPoint]] = {}
    for run in sorted(directory.glob("seed-*"), key=lambda run: (len(run.name), run.name)):
        try:
            curves[run.name.removeprefix("seed-")] = read_evals(run)
        except RecordsError as error:
            found.leave_out(run, f"its curve only: {error.fact}")
    readings = {}
    for name, values in _mapping(data.get("spread")).items():
        three = _numbers_of(_mapping(values), ("lowest", "median", "highest"))
        if len(three) == 3:
            readings[str(name)] = (three["lowest"], three["median"], three["highest"])
    marks = _numbers_of(_mapping(data.get("suggestion")), ("cycle_min_lr", "cycle_max_lr"))
    if "edge" in readings:
        marks["lowest edge"] = readings["edge"][0]
    reason, loss = data.get("reason"), data.get("loss")
    found.range_tests.append(
        FoundRangeTest(
            directory,
            reason if isinstance(reason, str) else "",
            marks,
            readings,
            curves,
            _criterion(data),
            loss if isinstance(loss, str) else "log_loss",
            gpus if isinstance(gpus := _mapping(data.get("training")).get("gpus"), int) else None,
        )
    )
    _add_commands(directory, found, None)


def _criterion(data: Mapping[str, Any]) -> Criterion:
    """The metric of a range test; if it is not recorded, the AUC, once the only metric."""
    name = data.get("metric")
    if not isinstance(name, str):
        return Criterion("auc", "max")
    return Criterion(name, "min" if data.get("direction") == "min" else "max")


def _number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _numbers_of(data: Mapping[Any, Any], names: Sequence[str]) -> dict[str, float]:
    """Those of the named values that are finite numbers."""
    found = {name: _number(data.get(name)) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _add_commands(directory: Path, found: Sources, study: FoundStudy | None) -> None:
    """The command that made a run, or the multirun it is of."""
    if study is not None and study.record.commands:
        return
    for sweep in (directory, directory.parent):
        overrides = _overrides(sweep / "multirun.yaml")
        if overrides is not None:
            found.commands.append(_command(["-m", *overrides]))
            return
    overrides = _overrides(directory / ".hydra" / "overrides.yaml")
    if overrides is not None:
        found.commands.append(_command(overrides))


def _command(words: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "bsscale", *words])


def _is_training_job(directory: Path) -> bool:
    """Whether a job without records was a training run.

    This follows from its saved configuration: task=train has no options of its own, other tasks
    have, and a dry run trains nothing.
    """
    config = _mapping(_saved(directory / ".hydra" / "config.yaml"))
    return not config.get("dry_run") and _mapping(config.get("task")).keys() <= {"name"}


def _overrides(path: Path) -> list[str] | None:
    """The command line's overrides, as Hydra saved them; None where it did not."""
    saved = _saved(path)
    if isinstance(saved, Mapping):
        saved = _mapping(_mapping(saved.get("hydra")).get("overrides")).get("task")
    return [str(word) for word in saved] if isinstance(saved, list) else None


def _saved(path: Path) -> object:
    """The content of a file that Hydra has saved; None where it cannot be read."""
    try:
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, ValueError, YAMLError, OmegaConfBaseException, RecursionError):
        return None
