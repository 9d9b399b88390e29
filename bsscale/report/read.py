"""Finds the sources of a report below some directories: studies, runs, range tests, and curves.

Everything is read as data: nothing is imported, instantiated or unpickled. What cannot be read is
left out, and listed with the reason.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bsscale.bridge.curves import Wanted, curve_files, import_curves
from bsscale.errors import ConfigError, FormatVersionError, RecordsError
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import read_run
from bsscale.report.read_range_test import add_range_test
from bsscale.report.read_study import FoundStudy, find_study
from bsscale.report.saved_commands import command_of_directory, is_training_job
from bsscale.report.sources import FoundRangeTest, FoundRun, LeftOut, Sources
from bsscale.terminal.words import counted

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


def matching(patterns: Sequence[str]) -> list[Path]:
    """The directories, and the files of curves, that paths and globs name, each once, in order.

    The name of what exists is no pattern. A glob names directories, or files if it names no
    directory.

    Raises
    ------
    RecordsError
        If one names nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        paths = [path] if path.exists() else _expand(str(path))
        named = [each for each in paths if each.is_dir()] or paths
        if not named:
            raise RecordsError(
                f"task.runs={pattern}: there is no such directory or file",
                "name a study's, a multirun's or a run's directory, or a file of curves, several "
                "as [a,b], or a glob: 'multirun/*/*'",
            )
        found.update(dict.fromkeys(named))
    return list(found)


def _expand(pattern: str) -> list[Path]:
    # (Path.glob takes no absolute pattern.) A multirun's jobs are called 0, 1, ..., 9, 10.
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207
    return [Path(name) for name in sorted(names, key=lambda name: (len(name), name))]


def find(paths: Iterable[Path], wanted: Wanted | None = None) -> Sources:
    """Everything below some directories, and the curves of some files.

    Parameters
    ----------
    paths
        Of studies, multiruns, range tests or runs, or of what holds them; and files of curves.
    wanted
        How curves are judged, if any are to be imported.

    Raises
    ------
    RecordsError
        If a file of curves cannot be read without guessing.
    ConfigError
        If there are curves and no metric for them, or a metric and no curves.
    """
    found = Sources()
    seen: set[Path] = set()
    curves: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            curves[path] = None
            continue
        here = [] if wanted is None else curve_files(path)
        curves.update(dict.fromkeys(here))
        before = len(found.runs) + len(found.left_out) + len(found.range_tests)
        _walk(path, found, None, seen)
        after = len(found.runs) + len(found.left_out) + len(found.range_tests)
        if before == after and not here:
            found.leave_out(path, f"{path} {_nothing_in(path)}")
    if wanted is not None and not curves:
        raise ConfigError(
            f"task.metric={wanted.criterion.name} does nothing: there are no curves to import, and "
            "records have their own metric and target",
            "leave out task.metric, task.direction and task.target, or name a file of curves: "
            "task.runs=curves.csv",
        )
    if curves:
        if wanted is None:
            raise _no_metric(next(iter(curves)))
        found.runs += [
            FoundRun(run.origin.path, run.record, run.evals, None, run.origin)
            for run in import_curves(list(curves), wanted)
        ]
    found.commands = list(dict.fromkeys(found.commands))
    return found


def _no_metric(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is a file, and no metric is given that judges its curves",
        "give task.metric=log_loss task.direction=min task.target=0.46, with your own; of a run of "
        "bsscale, name the directory",
    )


def read_runs(directories: Iterable[Path]) -> Sources:
    """The runs of some directories, each of which has one run."""
    found = Sources()
    for directory in directories:
        _add_run(directory, found, None)
    return found


def _nothing_in(path: Path) -> str:
    """Why a directory gives nothing to a report."""
    try:
        if not any(path.iterdir()):
            return "is empty"
    except OSError:
        return "is empty"
    if others := curve_files(path):
        return (
            f"holds no run of bsscale, but {counted(len(others), 'run')} of another tool, such as "
            f"{others[0]}: give task.metric=log_loss task.direction=min task.target=0.46, with "
            "your own"
        )
    return "holds no run, or only what was read already"


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
        add_range_test(directory, found)
        _add_commands(directory, found, None)
    elif names & set(_RUN):
        _add_run(directory, found, study)
        _add_commands(directory, found, study)
    elif ".hydra" in names and not inside and is_training_job(directory):
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


def _add_commands(directory: Path, found: Sources, study: FoundStudy | None) -> None:
    """Add the command that made a run, if its study has none."""
    if study is None or not study.record.commands:
        command = command_of_directory(directory)
        found.commands += [] if command is None else [command]
