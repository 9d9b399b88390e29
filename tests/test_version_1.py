"""Records of format version 1 are read, and reported with the numbers that they had.

tests/golden/version_1 holds the records and the reports of the last version that wrote them, and
says how they were made.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Finished
from tests.golden.version_1.make import FOLDERS, REPORTS, UNFINISHED, write_reports

VERSION_1 = Path(__file__).parent / "golden" / "version_1"
# Relative: logarithms and quantiles may differ in their last bit from processor to processor.
LAST_BITS = 1e-12

Place = tuple[str | int, ...]


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


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == pytest.approx(b, rel=LAST_BITS, abs=0)
    return type(a) is type(b) and a == b


def read_json(directory: Path) -> dict[Place, Any]:
    return dict(leaves(json.loads((directory / "report.json").read_text())))


@pytest.mark.parametrize("name", REPORTS)
def test_every_number_is_the_same(name: str, reports: dict[str, Path]) -> None:
    expected, found = read_json(VERSION_1 / "expected" / name), read_json(reports[name])
    assert found.keys() == expected.keys()
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
    words = {place: value for place, value in expected.items() if isinstance(value, str)}
    assert {place: found.get(place) for place in words} == words
    text = (VERSION_1 / "expected" / name / "report.md").read_text()
    assert (reports[name] / "report.md").read_text() == text


@pytest.mark.parametrize("name", REPORTS)
def test_the_table_for_a_spreadsheet_is_the_same(name: str, reports: dict[str, Path]) -> None:
    expected, found = (
        list(csv.reader((directory / "report.csv").read_text().splitlines()))
        for directory in (VERSION_1 / "expected" / name, reports[name])
    )
    assert [len(row) for row in found] == [len(row) for row in expected]
    for row, wanted in zip(found, expected, strict=True):
        assert all(
            same(number_or_text(a), number_or_text(b)) for a, b in zip(row, wanted, strict=True)
        ), row


def number_or_text(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def test_an_unfinished_run_goes_on(bsscale: Callable[..., Finished], tmp_path: Path) -> None:
    shutil.copytree(VERSION_1 / "unfinished", tmp_path / "unfinished")
    done = bsscale(*UNFINISHED)
    assert done.code == 0, done.text
    assert "going on after 102,400 samples" in done.text
    record = json.loads((tmp_path / "unfinished" / "run.json").read_text())
    assert (record["status"], record["steps"]) == ("exhausted", 3125)
