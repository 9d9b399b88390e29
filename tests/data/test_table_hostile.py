"""Hostile tables: a data set that a slow reading confirms, or a clear refusal; nothing else.

BSSCALE_HOSTILE_TABLES=2000 pytest -n0 tests/data/test_table_hostile.py tries more of them.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bsscale.data import ArrayStream, Dataset, load_dataset, table
from bsscale.data.encode import split_rows
from bsscale.errors import BsscaleError

EXAMPLES = int(os.environ.get("BSSCALE_HOSTILE_TABLES", "200"))

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "\\N"]
ODD = ["?", "-", "na", "#N/A", "-nan", "<NA>", " ", ".", "Infinity", "1,000", "$5", "5%", "inf"]
TEXTS = ["a", "b", "B", "café", "東京", 'a"b', "a,b", "x;y", "two\nlines", " a", "a ", "=1", "*"]
CODES = ["00012", "12", "0012", "55e12345", "1.1", "1.10", "1e5", "100000", "1e400"]
IDS = [str(2**53), str(2**53 + 1), str(10**38), str(10**38 + 1), "-" + str(2**63)]
NAMES = ["y", "a", "b", "c", "", "0", "1", "a b", "**", "^a", "é", "a,b", "__index_level_0__"]

numbers = st.one_of(
    st.integers(-99, 99).map(str),
    st.floats(-1e6, 1e6).map(repr),
    st.sampled_from(["+3", " 3", "1.", ".5", "-0", "1E3", "1.7e18"]),
)
kinds = st.sampled_from(
    [
        st.integers(0, 9).map(str),
        numbers,
        st.sampled_from(TEXTS),
        st.sampled_from(CODES),
        st.sampled_from(IDS),
        st.sampled_from([*TEXTS, *MISSING]),
        st.one_of(*[numbers] * 12, st.sampled_from(ODD)),
        st.one_of(numbers, st.sampled_from(MISSING)),
        st.just("7"),
        st.text(max_size=5),
    ]
)
labels = st.sampled_from(
    [["0", "1"], ["1", "2"], ["-1", "1"], ["no", "yes"], ["true", "False"], ["0", "1", ""], ["1.5"]]
)
BYTES = [b'"', b",", b";", b"\t", b"\r", b"\n", b"\0", b"\xff", b" ", b"0", b'""', b"\n\n"]


@dataclass
class Hostile:
    """A file and the options that it is read with."""

    content: bytes
    suffix: str
    separator: str
    label: str
    options: dict[str, Any] = field(default_factory=dict)


# What is wrong with a file beside its values.
TROUBLES = [
    *["none"] * 8,
    *("name twice", "pattern", "line ends", "encoding", "bytes", "bytes", "truncated", "short"),
]


@st.composite
def hostile(draw: st.DrawFn) -> Hostile:
    trouble = draw(st.sampled_from(TROUBLES))
    # Values come from pools by a generator of its own: much less for Hypothesis to remember.
    pick = random.Random(draw(st.integers(0, 2**32)))
    width = draw(st.integers(2, 6))
    height = pick.choice([0, 1, 12]) if trouble == "short" else pick.choice([40, 60])
    names = pick.sample(NAMES, width)
    if trouble == "name twice":
        names[-1] = names[0]
    if trouble == "pattern":
        names[-1] = pick.choice(["*", "^a.*$"])
    classes = draw(labels)
    columns = [[pick.choice(classes) for _ in range(height)]]
    for _ in range(width - 1):
        pool = draw(st.lists(draw(kinds), min_size=1, max_size=12))
        columns.append([pick.choice(pool) for _ in range(height)])
    suffix, usual = pick.choice([(".csv", ","), (".tsv", "\t"), (".csv", ";")])
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=usual,
        lineterminator="\r" if trouble == "line ends" else pick.choice(["\n", "\r\n"]),
        quoting=pick.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    )
    options: dict[str, Any] = {}
    if pick.random() < 0.8:
        options["separator"] = usual
    if pick.random() < 0.2:
        options |= {"header": False, "columns": names}
    else:
        writer.writerow(names)
    writer.writerows(zip(*columns, strict=True))
    encoding = pick.choice(["utf-8", "utf-8-sig"])
    if trouble == "encoding":
        encoding = pick.choice(["latin-1", "utf-16", "utf-16-le"])
    content = bytearray(text.getvalue().encode(encoding, "replace"))
    for _ in range(pick.choice([1, 2]) if trouble == "bytes" else 0):
        at = pick.randrange(len(content) + 1)
        content[at : at + pick.randrange(3)] = pick.choice(BYTES)
    for option in ("categorical", "numeric", "drop"):
        if pick.random() < 0.2:
            options[option] = pick.sample(names[1:], pick.choice([1, 1, min(2, width - 1)]))
    if pick.random() < 0.5:
        options["nulls"] = pick.sample([*ODD, "7"], 5)
    if (pick.random() < 0.7 and {"0", "1.5", "true"}.isdisjoint(classes)) or pick.random() < 0.1:
        options["positive"] = pick.choice(classes)
    packed = bytes(content)
    if trouble == "truncated" or pick.random() < 0.1:
        suffix, packed = f"{suffix}.gz", gzip.compress(packed)
        packed = packed[: -pick.randrange(1, 20)] if trouble == "truncated" else packed
    separator = options.get("separator", "\t" if ".tsv" in suffix else ",")
    return Hostile(packed, suffix, separator, names[0], options)


def slow_rows(case: Hostile) -> tuple[list[str], list[list[str]]]:
    """The columns' names and the rows, as Python's csv module reads them."""
    content = gzip.decompress(case.content) if case.suffix.endswith(".gz") else case.content
    text = content.decode("utf-8-sig")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=case.separator, strict=True)
    rows = [row for row in reader if row]
    names = case.options["columns"] if case.options.get("header") is False else rows.pop(0)
    assert all(len(row) == len(names) for row in rows)
    assert len(set(names)) == len(names)
    return names, rows


def slow_label(texts: list[str | None], positive: str | None) -> list[float | None]:
    def value(text: str) -> float:
        if positive is None:
            return {"false": 0.0, "true": 1.0}.get(text.lower().strip()) or float(
                text.lower().replace("false", "0").replace("true", "1")
            )
        try:
            return float(float(text) == float(positive))
        except ValueError:
            return float(text == positive)

    return [None if text is None else value(text) for text in texts]


def check(dataset: Dataset, case: Hostile) -> None:
    names, rows = slow_rows(case)
    missing = {*MISSING, *case.options.get("nulls", [])}
    columns = {
        name: [None if row[at] in missing else row[at] for row in rows]
        for at, name in enumerate(names)
    }
    label = slow_label(columns[case.label], case.options.get("positive"))
    kept = [at for at, value in enumerate(label) if value is not None]
    parts = split_rows(len(kept), "random", 0)
    assert isinstance(dataset.train, ArrayStream)
    samples = [dataset.train.samples, dataset.validation, dataset.test]
    order = np.concatenate([parts.train, parts.validation, parts.test])
    rows_of = [kept[at] for at in order]
    training = len(parts.train)
    assert np.concatenate([s.label for s in samples]).tolist() == [
        np.float32(label[at])
        for at in rows_of  # type: ignore[arg-type]
    ]
    assert case.label not in (*dataset.schema.categorical, *dataset.schema.numeric)
    ids = np.concatenate([s.categorical for s in samples])
    for column, name in enumerate(dataset.schema.categorical):
        texts = [columns[name][at] for at in rows_of]
        known = {text for text in texts[:training] if text is not None}
        assert dataset.schema.cardinalities[column] == len(known) + 1
        pairs = {(text, i) for text, i in zip(texts, ids[:, column].tolist(), strict=True)}
        assert all((i == 0) == (text not in known) for text, i in pairs)
        assert len({i for text, i in pairs if text in known}) == len(known)
    values = np.concatenate([s.numeric for s in samples])
    for column, name in enumerate(dataset.schema.numeric):
        read = [columns[name][at] for at in rows_of]
        floats = np.array([math.nan if text is None else slow_number(text) for text in read])
        seen = floats[:training][~np.isnan(floats[:training])]
        if len(seen) == 0 or seen.min() == seen.max():
            expected = np.zeros(len(floats))
        else:
            shifted = floats - seen[0]
            mean, std = np.mean(seen - seen[0]), np.std(seen - seen[0])
            expected = np.nan_to_num((shifted - mean) / std)
        np.testing.assert_allclose(values[:, column], expected, rtol=1e-4, atol=1e-5)


def slow_number(text: str) -> float:
    return {"true": 1.0, "false": 0.0}[text] if text in ("true", "false") else float(text)


def files_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(case=hostile())
def test_a_hostile_table_is_read_as_written_or_refused(case: Hostile, folder: Path) -> None:
    path = folder / f"t{case.suffix}"
    path.write_bytes(case.content)
    before = files_below(folder)
    try:
        dataset = table.load(str(path), case.label, **case.options)
    except BsscaleError as error:
        assert error.fact and error.remedy
    else:
        check(dataset, case)
    assert files_below(folder) == before
    path.unlink()


def test_through_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "t[1].csv"
    path.write_text("y,a\n" + "no,1\nyes,2\nyes,1\n" * 30)
    config = {"_target_": "bsscale.data.table.load", "path": str(path), "label": "y"}
    dataset = load_dataset({**config, "positive": "yes", "nulls": [], "drop": []})
    check(dataset, Hostile(path.read_bytes(), ".csv", ",", "y", {"positive": "yes"}))
