"""Short texts as integers, plain blocks of text, and numbers standardized by distinct value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from bsscale.data import table
from bsscale.data.standardize import Numbers, standardize, standardize_columns
from bsscale.data.table.factors import Factors
from bsscale.data.table.packed import distinct, unpack
from bsscale.data.table.text import TextFile
from bsscale.errors import DataError

HEXADECIMAL = st.text("0123456789abcdef", min_size=8, max_size=8)
TEXTS = st.one_of(
    st.none(),
    HEXADECIMAL,
    st.text("01-.", max_size=9),
    st.sampled_from(["", "é", "éééé", "a\0", "a", "\0", "abcdefg\0", "longer than eight", "😀😀"]),
)


@given(st.one_of(st.lists(TEXTS), st.lists(st.none() | HEXADECIMAL), st.lists(st.text(max_size=9))))
@example(["a", "a\0"])
@example(["abcdefg\0", "abcdefgh"])
@example([None, None])
def test_packed_texts_are_the_texts_in_their_order(texts: list[str | None]) -> None:
    packed = distinct(pl.Series(texts, dtype=pl.String))
    if packed is None:
        assert any(t and (len(t.encode()) > 8 or t[-1] == "\0" or not t.isascii()) for t in texts)
        return
    values, rows = packed
    read = unpack(values).to_list()
    assert read == sorted({text for text in texts if text is not None})
    assert [read[row - 1] if row else None for row in rows.tolist()] == texts


@given(parts=st.lists(st.lists(TEXTS, min_size=1), min_size=1, max_size=4))
def test_parts_of_short_and_long_texts_are_merged(
    parts: list[list[str | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    factors = Factors(tmp_path_factory.mktemp("factors") / "text", "c", pl.String())
    for part in parts:
        factors.add(pl.Series(part, dtype=pl.String))
    column = factors.column()
    every = [text for part in parts for text in part]
    assert column.to_list() == factors.column().to_list() == every
    assert column.values.to_list() == sorted({text for text in every if text is not None})


@given(
    fields=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    width=st.integers(2, 4),
    ends=st.booleans(),
)
@settings(max_examples=300)
def test_a_block_with_ragged_rows_is_refused(fields: list[int], width: int, ends: bool) -> None:
    names = tuple("abcd"[:width])
    first = ",".join(["1"] * width) + "\n"
    rows = "\n".join(",".join(["1"] * count) for count in fields) + "\n" * ends
    read = TextFile(Path("t.csv"), ",", names)
    if all(count == width for count in fields):
        frames = list(read.frames([first.encode(), rows.encode()]))
        assert sum(map(len, frames)) == 1 + len(fields)
    else:
        wrong = next(number for number, count in enumerate(fields, 2) if count != width)
        with pytest.raises(DataError, match=rf"line {wrong} of t.csv has \d fields"):
            list(read.frames([first.encode(), rows.encode()]))


def by_scikit_learn(values: np.ndarray, training: int) -> np.ndarray:
    with np.errstate(all="ignore"):
        return StandardScaler().fit(values[:training]).transform(values).astype(np.float32)


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("missing", [False, True])
def test_standardized_numbers_are_those_of_scikit_learn(columns: int, missing: bool) -> None:
    rng = np.random.default_rng(columns)
    codes = rng.integers(-1 if missing else 0, 300, (50_000, columns), dtype=np.int32)
    tables = np.exp(rng.normal(0, 3, (300, columns)))
    rows = np.where(codes < 0, np.nan, np.take_along_axis(tables, np.maximum(codes, 0), 0))
    expected = np.nan_to_num(by_scikit_learn(rows, 40_000))
    found = standardize_columns(
        [Numbers(np.append(tables[:, c], np.nan), codes[:, c].copy()) for c in range(columns)],
        ["a", "b", "c"][:columns],
        40_000,
    )
    assert np.array_equal(np.column_stack(found), expected)
    assert np.array_equal(standardize(rows, ["a", "b", "c"][:columns], 40_000), expected)


def test_the_first_row_with_a_lost_number_is_named() -> None:
    values = np.array([0.0, 1e-30, 1e30, np.nan])
    codes = np.array([0, 1, 0, 1, 0, 1, 2], np.int32)
    with pytest.raises(DataError, match="column 'b' has 1e\\+30, too far"):
        standardize_columns([Numbers(np.arange(7.0)), Numbers(values, codes)], ["a", "b"], 6)
    # A value of a row that is in no split does not matter.
    standardize_columns([Numbers(np.arange(6.0)), Numbers(values, codes[:6])], ["a", "b"], 6)


def test_a_named_category_is_not_read_as_numbers(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("y,c,x\n" + "0,0001,1\n1,0002,2\n1,7,3\n0,x,4\n" * 10)
    dataset = table.load(str(path), "y", categorical=["c"], numeric=["x"])
    assert dataset.schema.cardinalities == (5,)
    assert [facts.note for facts in dataset.columns if facts.name == "c"] == [""]
