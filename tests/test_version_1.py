"""Records of format version 1 are read, and reported with the numbers that they had.

tests/golden/version_1 holds the records and the reports of the last version that wrote them, and
says how they were made. The sentences of report.md are those of the version that writes it.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Finished
from tests.golden.version_1.make import (
    COMMANDS,
    FOLDERS,
    REPORTS,
    STUDY,
    UNFINISHED,
    write_reports,
)
from tests.helpers import others_slow

VERSION_1 = Path(__file__).parent / "golden" / "version_1"
# Relative: logarithms and quantiles may differ in their last bit from processor to processor.
LAST_BITS = 1e-12

Place = tuple[str | int, ...]
# What is called otherwise since.
RENAMED: dict[str | int, str] = {
    "best_auc": "best_value",
    "median_best_auc": "median_best_value",
    "median_auc": "median",
}
# What follows from rules that have changed since: several comparisons are judged together.
NEW_RULES = {"verdict", "seeds_needed"}
# Reports without one arm at 1 GPU that has a fixed rate: the fastest arm was the baseline, and now
# there is none.
RANKED = ("single", "multirun")
RATIOS = {"baseline", "ratio_to_baseline", "ratio_low", "ratio_high"}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The reports of a copy, by their names; tests only read them."""
    copy = tmp_path_factory.mktemp("version_1")
    for name in FOLDERS:
        shutil.copytree(VERSION_1 / name, copy / name)
    return write_reports(copy, tmp_path_factory.mktemp("reports"))


def leaves(data: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value in JSON, and where it is; an empty list or mapping is a value."""
    inside = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in inside:
        if isinstance(value, dict | list) and value:
            yield from leaves(value, (*place, key))
        else:
            yield (*place, key), value


def by_new_rules(name: str, place: Iterable[str | int]) -> bool:
    words = set(place)
    return bool(words & NEW_RULES) or (name in RANKED and bool(words & RATIOS))


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == pytest.approx(b, rel=LAST_BITS, abs=0)
    return type(a) is type(b) and a == b


def read_json(directory: Path) -> dict[Place, Any]:
    data = json.loads((directory / "report.json").read_text())
    del data["format_version"]  # (of the report, not of the records)
    found = leaves(data)
    return {tuple(RENAMED.get(name, name) for name in place): value for place, value in found}


@pytest.mark.parametrize("name", REPORTS)
def test_every_number_is_the_same(name: str, reports: dict[str, Path]) -> None:
    expected, found = read_json(VERSION_1 / "expected" / name), read_json(reports[name])
    expected = {p: value for p, value in expected.items() if not by_new_rules(name, p)}
    assert found.keys() >= expected.keys()  # (a report may say more)
    wrong = {
        place: (found[place], value)
        for place, value in expected.items()
        if not isinstance(value, str) and not same(found[place], value)
    }
    assert not wrong


@pytest.mark.parametrize("name", REPORTS)
def test_every_word_is_the_same(name: str, reports: dict[str, Path]) -> None:
    # Directories among them: the reports are made by relative paths, as the expected ones were.
    expected, found = read_json(VERSION_1 / "expected" / name), read_json(reports[name])
    words = {
        place: value
        for place, value in expected.items()
        if isinstance(value, str) and not by_new_rules(name, place)
    }
    assert {place: found.get(place) for place in words} == words


@pytest.mark.parametrize("name", REPORTS)
def test_the_table_for_a_spreadsheet_is_the_same(name: str, reports: dict[str, Path]) -> None:
    expected, found = (
        list(csv.DictReader((directory / "report.csv").read_text().splitlines()))
        for directory in (VERSION_1 / "expected" / name, reports[name])
    )
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        for column, cell in wanted.items():
            if by_new_rules(name, [column]):
                continue
            same_cell = row[str(RENAMED.get(column, column))]
            assert same(number_or_text(same_cell), number_or_text(cell)), (column, row)


def number_or_text(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def files_of(directory: Path) -> dict[Path, bytes]:
    """Records and checkpoints, which stay as they are."""
    names = ("run.json", "evals.jsonl", "study.json", "range_test.json")
    found = [path for path in directory.rglob("*") if path.name in names]
    return {path: path.read_bytes() for path in [*found, *directory.rglob("step-*")]}


def refused(done: Finished, directory: Path, before: dict[Path, bytes]) -> None:
    assert done.code == 1 and "Traceback" not in done.text, done.text
    assert files_of(directory) == before


NOT_CONTINUED = {
    "unfinished": (UNFINISHED, "format_version 1"),
    "study": ((*STUDY, "task.seeds=7"), "format version 1"),
    "single/reached": (COMMANDS[0], "format version 1"),
    "range_test": (COMMANDS[6], "format version 1"),
    "multirun": (COMMANDS[5], "format version 1"),
}


@pytest.mark.parametrize("name", others_slow(2, list(NOT_CONTINUED)))
def test_it_is_not_continued(name: str, bsscale: Callable[..., Finished], tmp_path: Path) -> None:
    shutil.copytree(VERSION_1 / name, tmp_path / name)
    before = files_of(tmp_path)
    arguments, fact = NOT_CONTINUED[name]
    done = bsscale(*arguments)
    refused(done, tmp_path, before)
    assert fact in done.text and "->" in done.text


def newer(directory: Path) -> None:
    """A run as a version 3 may write it."""
    shutil.copytree(VERSION_1 / "single" / "reached", directory)
    record = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps({**record, "format_version": 3, "new": [1]}))


@pytest.mark.slow
def test_a_newer_version_is_refused_named_and_left_as_it_is(
    bsscale: Callable[..., Finished], tmp_path: Path
) -> None:
    newer(tmp_path / "run")
    before = files_of(tmp_path)
    done = bsscale(*COMMANDS[0], "hydra.run.dir=run")
    refused(done, tmp_path, before)
    assert "format_version 3" in done.text

    shutil.copytree(VERSION_1 / "single" / "exhausted", tmp_path / "older")
    before = files_of(tmp_path)
    done = bsscale("task=report", "task.runs=[run,older]", "tracker=none", "hydra.run.dir=out")
    assert done.code == 0, done.text
    page = (tmp_path / "out" / "report.json").read_text()
    assert "run/run.json has format_version 3" in page
    assert files_of(tmp_path) == before


def test_a_study_of_a_newer_version_is_refused_and_left_as_it_is(
    bsscale: Callable[..., Finished], tmp_path: Path
) -> None:
    shutil.copytree(VERSION_1 / "study", tmp_path / "study")
    study = json.loads((tmp_path / "study" / "study.json").read_text())
    (tmp_path / "study" / "study.json").write_text(json.dumps({**study, "format_version": 3}))
    before = files_of(tmp_path)
    done = bsscale(*STUDY, "task.seeds=7")
    refused(done, tmp_path, before)
    assert "format_version 3" in done.text
