"""Text files: what is read, and what is refused with the line and the remedy."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bsscale.data import ArrayStream, Dataset, table
from bsscale.data import cache as cache_module
from bsscale.data.table.source import Source
from bsscale.errors import DataError

ROWS = [f"{i * i % 7},s{i % 5},{i % 3 % 2}" for i in range(60)]
TEXT = "\n".join(["price,site,clicked", *ROWS]) + "\n"


def load(path: Path, content: str | bytes, **options: Any) -> Dataset:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return table.load(str(path), options.pop("label", "clicked"), **options)


def keys(*datasets: Dataset) -> set[str]:
    return {dataset.key for dataset in datasets}


def test_one_table_in_many_forms(tmp_path: Path) -> None:
    plain = load(tmp_path / "a.csv", TEXT)
    assert plain.schema.numeric == ("price",) and plain.schema.categorical == ("site",)
    tabs = TEXT.replace(",", "\t")
    quoted = "\n".join(",".join(f'"{f}"' for f in line.split(",")) for line in TEXT.splitlines())
    body = "\n".join(ROWS)
    names = ["price", "site", "clicked"]
    forms = [
        load(tmp_path / "a.tsv", tabs),
        load(tmp_path / "b.csv", TEXT.rstrip("\n")),
        load(tmp_path / "c.csv", TEXT.replace("\n", "\r\n")),
        load(tmp_path / "d.csv", "\ufeff" + TEXT),
        load(tmp_path / "e.csv", quoted),
        load(tmp_path / "f.csv", TEXT.replace(",", ";"), separator=";"),
        load(tmp_path / "g.txt", TEXT.replace(",", "|"), separator="|"),
        load(tmp_path / "h.csv", tabs, separator="tab"),
        load(tmp_path / "i.csv", body, header=False, columns=names),
        load(tmp_path / "j.csv.gz", gzip.compress(TEXT.encode())),
        load(tmp_path / "k.TSV.GZ", gzip.compress(tabs.encode())),
    ]
    assert keys(plain, *forms) == {plain.key}
    blank = load(tmp_path / "l.csv", "\n" + TEXT.replace("\n", "\n\n"))
    assert blank.key == plain.key
    assert blank.notes == ("59 blank lines are left out.",)


def zstd(content: bytes) -> bytes:
    """A Zstandard frame of one raw block: RFC 8878, 3.1.1."""
    assert 256 <= len(content) < 2**16
    head = bytes.fromhex("28b52ffd") + b"\x60" + (len(content) - 256).to_bytes(2, "little")
    return head + ((len(content) << 3) | 1).to_bytes(3, "little") + content


def test_zstandard(tmp_path: Path) -> None:
    packed = zstd(TEXT.encode())
    assert load(tmp_path / "a.csv.zst", packed).key == load(tmp_path / "a.csv", TEXT).key
    for damaged in (packed[:-9], packed + b"x", zstd(TEXT.encode("utf-16"))):
        with pytest.raises(DataError, match=r"b\.csv\.zst"):
            load(tmp_path / "b.csv.zst", damaged)


@pytest.mark.parametrize(
    "name",
    ["a[1].csv", "a*.csv", "a?.tsv", "a,b.csv", "a=b.csv", "a b.csv", "a\"b'.csv", "{a}.csv"],
)
def test_a_path_is_never_a_pattern(name: str, tmp_path: Path) -> None:
    text = TEXT.replace(",", "\t") if name.endswith("tsv") else TEXT
    expected = load(tmp_path / f"plain{name[-4:]}", text)
    for neighbour in ("a1.csv", "ab.csv", "axyz.csv", "ab.tsv", "a.csv"):
        (tmp_path / neighbour).write_text("price,site,clicked\n" + "1,other,0\n2,x,1\n3,x,1\n" * 9)
    assert load(tmp_path / name, text).key == expected.key
    frame = pl.read_csv(tmp_path / "plain.csv") if name.endswith("csv") else pl.DataFrame()
    if len(frame):
        folder = tmp_path / "p=[1]"
        folder.mkdir()
        stored = folder / f"{name}.parquet"
        frame.write_parquet(tmp_path / "stored")
        stored.write_bytes((tmp_path / "stored").read_bytes())
        dataset = table.load(str(stored), "clicked")
        assert dataset.key == expected.key
        with pytest.raises(DataError, match="there is no file"):
            table.load(str(folder / "*.parquet"), "clicked")


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (TEXT.replace(",", ";"), {}, ["semicolons", "dataset.separator", ";"]),
        (TEXT.replace(",", "\t"), {}, ["tabs", "dataset.separator=tab"]),
        (TEXT.encode("utf-16"), {}, ["UTF-16", "iconv"]),
        (TEXT.encode("utf-16-le"), {}, ["UTF-16", "iconv"]),
        (TEXT.replace("\n", "\r"), {}, ["CR alone", "tr '"]),
        (TEXT.replace("s3", "caf\xe9", 1).encode("latin-1"), {}, ["0xe9", "line 5", "iconv"]),
        ("sep=,\n" + TEXT, {}, ["'sep=,'", "remove this line"]),
        ("# export\n" + TEXT, {}, ["'# export'", "3 fields", "remove the lines above"]),
        (TEXT.replace("s3", 's"3', 1), {}, ["quote out of place in line 5", 's"3']),
        (TEXT.replace("s3", '"s3', 1), {}, ["quote out of place in line 5"]),
        (TEXT.replace("s3", '"s"3"', 1), {}, ["quote out of place in line 5"]),
        (TEXT.replace("2,s3", "2,s3,9", 1), {}, ["line 5", "4 fields", "3 columns"]),
        (TEXT.replace(",s3,", ",", 2), {}, ["line 5", "2 fields", "1 more rows"]),
        (TEXT[:-3], {}, ["line 61", "2 fields"]),
        (TEXT.replace("s3", "s\r3", 1), {}, ["carriage return", "5"]),
        (TEXT.replace("s3", "s\0003", 1), {}, ["NUL", "line 5"]),
        (TEXT.replace("site", "price"), {}, ["'price' 2 times"]),
        (TEXT.replace("site", "clicked"), {}, ["'clicked' 2 times"]),
        (TEXT.replace("price,site", ","), {}, ["2 columns without a name"]),
        (TEXT.replace("price", "*"), {}, ["'*'", "another name"]),
        ("\n".join(ROWS), {}, ["looks like data", "3 columns", "dataset.header=false"]),
        ("\n".join(ROWS[2:]), {}, ["no column 'clicked'", "dataset.header=false"]),
        ("1,2,3\n" * 30, {"label": "1"}, ["looks like data", "3 columns"]),
        (TEXT, {"header": False}, ["nothing names the columns"]),
        (TEXT, {"columns": ["a", "b", "c"]}, ["first row is the header", "header=false"]),
        (
            TEXT,
            {"header": False, "columns": ["price", "site", "clicked"]},
            ["first row", "is the columns' names"],
        ),
        (TEXT, {"header": False, "columns": ["a", "b"], "label": "a"}, ["2 names", "3 fields"]),
        (TEXT, {"header": False, "columns": ["a", "b", "b"], "label": "a"}, ["'b' 2 times"]),
        (TEXT, {"separator": ",,"}, ["separator is ',,'"]),
        (TEXT, {"separator": "a"}, ["separator is 'a'"]),
        (TEXT, {"label": 1.5}, ["label has 1.5, a float"]),
        (TEXT, {"nulls": "x"}, ["dataset.nulls=[x]"]),
        (TEXT, {"nulls": [None]}, ["nulls has None"]),
        ("\n\n\n", {}, ["is empty"]),
        ("\ufeff", {}, ["is empty"]),
        ("price,site,clicked", {}, ["is empty"]),
    ],
)
def test_what_cannot_be_read_without_guessing(
    content: str | bytes, options: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path / "a.csv", content, **options)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("path", ["a\0.csv", "~nobody-here/a.csv", "a" * 300 + ".csv", 3])
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises(DataError):
        table.load(path, "clicked")


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_truncated_archive(cut: int, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        load(tmp_path / "a.csv.gz", gzip.compress(TEXT.encode())[:-cut])


def test_numbered_columns(tmp_path: Path) -> None:
    """How pandas writes an array: columns 0, 1, 2, with or without the row number."""
    rng = np.random.default_rng(0)
    rows = [f"{rng.integers(9)},{rng.integers(9)},{rng.integers(2)}" for _ in range(60)]
    one = load(tmp_path / "a.csv", "\n".join(["0,1,2", *rows]), label=2, categorical=[1])
    assert (one.schema.categorical, one.schema.numeric) == (("1",), ("0",))
    numbered = [f"{i},{row}" for i, row in enumerate(rows)]
    two = load(tmp_path / "b.csv", "\n".join([",0,1,2", *numbered]), label="2", categorical=["1"])
    assert two.key == one.key
    assert "left out" in two.notes[0] and "row number" in two.notes[0]


def test_the_shape_of_criteo(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(80):
        counts = [str(n) if n < 90 else "" for n in rng.integers(0, 100, 13)]
        ids = [f"{n:08x}" for n in rng.integers(0, 9, 26) * 0x1A2B3C]
        rows.append("\t".join([str(rng.integers(2)), *counts, *ids]))
    content = gzip.compress("\n".join(rows).encode())
    with pytest.raises(DataError, match="looks like data"):
        load(tmp_path / "day_0.tsv.gz", content, label="label")
    names = ["label", *(f"I{i}" for i in range(13)), *(f"C{i}" for i in range(26))]
    dataset = load(tmp_path / "day_0.tsv.gz", content, label="label", header=False, columns=names)
    assert len(dataset.schema.numeric) == 13
    assert set(dataset.schema.cardinalities) <= {9, 10}


def test_line_breaks_within_quotes_are_kept_and_noted(tmp_path: Path) -> None:
    dataset = load(tmp_path / "a.csv", TEXT.replace("s3", '"s\n3"').replace("s2", '"s ""2"""'))
    assert dataset.schema.cardinalities == (6,)
    assert "line breaks" in dataset.notes[0]


def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    read = Source.read

    def exchanged(self: Source, scratch: Path) -> Any:
        found = read(self, scratch)
        self.path.write_text(TEXT.replace("s1", "s9"))
        return found

    monkeypatch.setattr(Source, "read", exchanged)
    with pytest.raises(DataError, match="was changed while it was read"):
        load(tmp_path / "a.csv", TEXT)
    assert list(cache.glob("*.safetensors")) == []


def test_every_option_names_other_arrays(tmp_path: Path, cache: Path) -> None:
    others: list[dict[str, Any]] = [
        {"categorical": ["price"]},
        {"numeric": []},
        {"drop": ["site"]},
        {"nulls": ["3"]},
        {"positive": "0"},
        {"min_count": 2},
        {"split_seed": 1},
    ]
    for options in ({}, *others, {}):
        load(tmp_path / "a.csv", TEXT, **options)
    assert len(list(cache.glob("*.safetensors"))) == 1 + len(others)


def test_the_newer_preparation_leaves_the_older_arrays(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(tmp_path / "a.csv", TEXT)
    monkeypatch.setattr(cache_module, "PREPARATION_VERSION", 10**6)
    again = load(tmp_path / "a.csv", TEXT)
    assert again.key == first.key and again.columns == first.columns
    assert isinstance(again.train, ArrayStream)
    assert len(list(cache.glob("*.safetensors"))) == 2
