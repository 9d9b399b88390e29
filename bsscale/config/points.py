"""Points of a user's own: samples to a target over batch, from a CSV file or MLPerf's JSON."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsscale.config.files import read_json, read_text
from bsscale.critical_batch import Point
from bsscale.errors import ConfigError

__all__ = ["PointsFile", "read_points"]

# The name of the only arm of a file that names none.
ALL = "all"
_NEEDED, _OPTIONAL = ("batch", "samples"), ("seed", "arm", "budget")
_FORM = (
    "give a CSV file with the columns batch and samples, and optionally seed, arm and budget, or "
    "MLPerf's JSON of reference convergence points"
)
# The names of fields in MLPerf's JSON (mlperf-logging, rcp_checker).
_BENCHMARK, _BATCH, _EPOCHS = "Benchmark", "BS", "Epochs to converge"


@dataclass(frozen=True)
class PointsFile:
    """What a file holds.

    Attributes
    ----------
    arms
        The points of each arm, in the order of the file.
    notes
        What a reader should know about how it was read, a sentence each.
    """

    arms: Mapping[str, tuple[Point, ...]]
    notes: tuple[str, ...] = ()


def read_points(option: str, path: str) -> PointsFile:
    """Read a file of points.

    Parameters
    ----------
    option
        Who names the file, for messages.
    path
        Relative to the working directory; a name that ends in ``.json`` is MLPerf's JSON.

    Raises
    ------
    ConfigError
        For a file that cannot be read, or a row that is no point; with its line.
    """
    where = f"{option}={path}"
    if Path(path).suffix.lower() == ".json":
        return _reference_points(where, read_json(option, path))
    return _table(where, read_text(option, path))


def _table(where: str, text: str) -> PointsFile:
    rows = _rows(where, text)
    first = next(rows, None)
    if first is None:
        raise ConfigError(f"{where} is empty", _FORM)
    names = [name.strip().lower() for name in first[1]]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise ConfigError(
            f"{where} has no column {' and no column '.join(missing)}: its first line is "
            f"{','.join(first[1])[:80]!r}",
            _FORM + _commas(first[1]),
        )
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{where} has the column {twice!r} twice", "name each column once")
    arms: dict[str, list[Point]] = {}
    lines: dict[tuple[str, float, int], int] = {}
    for line, cells in rows:
        if len(cells) != len(names):
            raise ConfigError(
                f"{where}, line {line} has {len(cells)} values, and the first line names "
                f"{len(names)} columns",
                "give one value for each column; numbers have no commas",
            )
        row = dict(zip(names, (cell.strip() for cell in cells), strict=True))
        arm, point = _point(f"{where}, line {line}", row)
        arms.setdefault(arm, []).append(point)
        if point.seed is not None:
            key = (arm, point.batch, point.seed)
            if key in lines:
                of = "" if "arm" not in names else f"arm {arm}, "
                raise ConfigError(
                    f"{where} has {of}batch {point.batch:g} and seed {point.seed} twice, in the "
                    f"lines {lines[key]} and {line}",
                    "give each run once; runs of the same batch have different seeds, or none",
                )
            lines[key] = line
    if not arms:
        raise ConfigError(f"{where} names columns and holds no points", _FORM)
    unknown = [name for name in names if name not in (*_NEEDED, *_OPTIONAL)]
    notes = (f"Columns that are not used: {', '.join(unknown)}.",) if unknown else ()
    return PointsFile({arm: tuple(points) for arm, points in arms.items()}, notes)


def _commas(first: list[str]) -> str:
    """What else to do where another character seems to separate the columns."""
    others = len(first) == 1 and any(mark in first[0] for mark in ";\t|")
    return ", with commas between the values and a point in numbers" if others else ""


def _rows(where: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers."""
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ConfigError(f"{where}, line {reader.line_num} is not CSV: {error}", _FORM) from None


def _point(where: str, row: Mapping[str, str]) -> tuple[str, Point]:
    arm = row.get("arm", ALL)
    if not arm:
        raise ConfigError(f"{where} names no arm", "give every row an arm, or leave the column out")
    batch = _number(where, "batch", row["batch"])
    if batch is None:
        raise ConfigError(f"{where} has no batch", "give the samples of an update, such as 1024")
    samples = _number(where, "samples", row["samples"])
    budget = _number(where, "budget", row.get("budget", ""))
    if samples is not None and budget is not None and samples > budget:
        raise ConfigError(
            f"{where} has samples {samples:g} above its budget {budget:g}",
            "leave samples empty where a run did not reach the target within its budget",
        )
    return arm, Point(batch, samples, budget, _seed(where, row.get("seed", "")))


def _number(where: str, name: str, text: str) -> float | None:
    """A positive number; None where there is none."""
    if not text:
        return None
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        kind = "no number" if math.isnan(value) else "not a positive, finite number"
        empty = "" if name == "batch" else "; leave it empty where a run did not reach the target"
        raise ConfigError(f"{where} has {name} {text!r}, which is {kind}", _remedy(name) + empty)
    return value


def _remedy(name: str) -> str:
    return f"give {name} as a number above 0, such as 1024 or 2.5e6"


def _seed(where: str, text: str) -> int | None:
    if not text:
        return None
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value != int(value):
        raise ConfigError(
            f"{where} has seed {text!r}, which is no whole number",
            "give a whole number, or leave it empty",
        )
    return int(text) if text.lstrip("+-").isdigit() else int(value)


def _reference_points(where: str, data: Mapping[str, Any]) -> PointsFile:
    """MLPerf's reference convergence points: runs by batch, with the passes that each took."""
    remedy = (
        f"give the JSON of mlperf-logging's rcp_checker: entries with {_BATCH!r} and {_EPOCHS!r}"
    )
    arms: dict[str, list[Point]] = {}
    for name, entry in data.items():
        if not isinstance(entry, dict) or _BATCH not in entry or _EPOCHS not in entry:
            raise ConfigError(f"{where}, entry {name!r} has no {_BATCH!r} and {_EPOCHS!r}", remedy)
        batch, runs = entry[_BATCH], entry[_EPOCHS]
        if not _positive(batch):
            raise ConfigError(f"{where}, entry {name!r} has {_BATCH!r} {batch!r}", remedy)
        if not isinstance(runs, list) or not all(run is None or _positive(run) for run in runs):
            raise ConfigError(
                f"{where}, entry {name!r} has {_EPOCHS!r} that are not a list of positive numbers",
                remedy + "; null where a run did not converge",
            )
        points = arms.setdefault(str(entry.get(_BENCHMARK, ALL)), [])
        points += [Point(float(batch), None if run is None else float(run)) for run in runs]
    arms = {name: points for name, points in arms.items() if points}
    if not arms:
        raise ConfigError(f"{where} holds no runs", remedy)
    if len(arms) == 1:
        arms = {ALL: next(iter(arms.values()))}
    return PointsFile({name: tuple(points) for name, points in arms.items()})


def _positive(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value <= sys.float_info.max  # type: ignore[operator]
