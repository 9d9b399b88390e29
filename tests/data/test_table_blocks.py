"""Large tables are read in blocks of rows: what comes of them is what comes of the whole."""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bsscale.data import Dataset, table
from bsscale.data.table import chunks, source
from bsscale.data.table.row_blocks import row_blocks
from bsscale.errors import DataError

VALUES = {
    "site": ["s1", "s2", "", 'a "quoted" one', "two\nlines", "b,c", "é"],
    "code": ["00012", "12", "0a", "NA"],
    "price": ["1.5", "-3", "1e5", "", "NaN"],
    "count": ["0", "1", "7", "null"],
}


def text(seed: int, rows: int, end: str = "\n") -> str:
    """A table with a header, quotes where they are needed, and blank lines."""
    pick = random.Random(seed)
    lines = [",".join(["y", *VALUES])]
    for _ in range(rows):
        fields = [pick.choice("01"), *(pick.choice(values) for values in VALUES.values())]
        lines.append(",".join(_quoted(field, pick) for field in fields))
        lines += [""] * (pick.random() < 0.05)
    return end.join(lines) + end * pick.choice([0, 1, 3])


def _quoted(field: str, pick: random.Random) -> str:
    if set(field) & set(',"\n') or pick.random() < 0.1:
        return '"' + field.replace('"', '""') + '"'
    return field


def load(path: Path, **options: Any) -> Dataset:
    return table.load(str(path), "y", **options)


def in_blocks(path: Path, cache: Path, size: int, **options: Any) -> Dataset:
    """The same data set, prepared anew in blocks of so many bytes."""
    for stored in cache.glob("*.safetensors"):
        stored.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "BYTES", size)
        patch.setattr(source, "_ROWS", size)
        return load(path, **options)


def facts(dataset: Dataset) -> tuple[Any, ...]:
    return dataset.key, dataset.schema, dataset.notes, dataset.columns


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blocks")


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(20, 70),
    size=st.integers(200, 900),
    end=st.sampled_from(["\n", "\r\n"]),
    packed=st.booleans(),
)
def test_blocks_give_the_arrays_of_the_whole(
    seed: int, rows: int, size: int, end: str, packed: bool, folder: Path
) -> None:
    content = text(seed, rows, end).encode()
    path = folder / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    cache = folder / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BSSCALE_CACHE_DIR", str(cache))
        whole = facts(load(path))
        assert facts(in_blocks(path, cache, size)) == whole
    assert list(cache.glob("*.scratch")) == []


@given(seed=st.integers(0, 2**32), size=st.integers(40, 300))
@settings(max_examples=50)
def test_a_block_ends_at_the_end_of_a_row(seed: int, size: int) -> None:
    content = text(seed, 40).encode()
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    blocks = list(row_blocks(parts))
    assert b"".join(blocks) == content
    assert all(block.count(b'"') % 2 == 0 and block.endswith(b"\n") for block in blocks[:-1])


def test_parquet_is_read_column_by_column(tmp_path: Path, cache: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "t.parquet"
    sites = [None if i % 7 == 0 else f"s{i % 5}" for i in range(200)]
    frame = pl.DataFrame(
        {
            "y": rng.integers(0, 2, 200),
            "site": sites,
            "kind": pl.Series(sites).cast(pl.Categorical),
            "user": pl.Series(rng.integers(-3, 3, 200), dtype=pl.Int8),
            "price": rng.normal(size=200),
        }
    )
    frame.write_parquet(path)
    options = {"categorical": ["site", "kind", "user"], "numeric": ["price"]}
    whole = facts(load(path, **options))
    assert whole[1].cardinalities == (6, 6, 7)
    assert facts(in_blocks(path, cache, 16, **options)) == whole


# The keys that whole files had before they were read in blocks.
GOLDEN = {
    "quotes.csv": "8f9ef067f4e32785a9032e9ad982c9624b7e8965903d31e3f6858da1abbb1de0",
    "windows.csv": "b168fd0ef9963c6fb9b22129c6ba6cbf34df95931bde26efce86f35329949223",
    "packed.csv.gz": "c2e6baab0140f9c11ebe503c166ced645d1379d01d4ec723f58887cf5fe115f0",
    "rare.csv": "e11763d83627fff16b67a6ad280159cdfb928762fea863be27e882da374fb81a",
    "nulls.csv": "b2d378c4af7daa9feabaddd66772628577ddc1d2df96cbabd7cab4f76dbef73d",
    "mark.csv": "436a26dff085a6cc86db6846a71d37131fd265e3754968ec26b710534a8bece5",
    "codes.csv": "dd0448c5e2179fb63ea77d7e715246c293df2d31534015f19d414264185e9603",
    "one_number.csv": "71f413faf87a5fd087a6530f4e4ed85446c4e498e6e39e5a2936f61f449b4dac",
    "timed.csv": "6d9f29aa56c50181e0543a6fb870c85047dc51216a56d1610a7adcceaf2216a8",
    "words.tsv": "93e093eb34f76356df1c4abd8cb62e743b6cda52bdb1fa63dcf1cd5d9bd9ec35",
}


def ten_files(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Ten small files with their options."""
    found: dict[str, tuple[Path, dict[str, Any]]] = {}

    def add(name: str, content: str | bytes, **options: Any) -> None:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found[name] = path, options

    add("quotes.csv", text(1, 200))
    add("windows.csv", text(2, 200, "\r\n"))
    add("packed.csv.gz", gzip.compress(text(3, 200).encode(), mtime=0))
    add("rare.csv", text(4, 300), min_count=60)
    add("nulls.csv", text(5, 300), nulls=["7", "s1"])
    add("mark.csv", b"\xef\xbb\xbf" + text(6, 150).encode())
    add("codes.csv", text(7, 200), categorical=["count", "code"], numeric=["price"])
    add("one_number.csv", text(8, 200), drop=["price"])
    days = [f"{i % 2},{(i * 37) % 100},{i % 11},{i % 3}.5" for i in range(300)]
    timed = "\n".join(["y,day,site,price", *days])
    add("timed.csv", timed, split="time", time_column="day", categorical=["site"])
    words = timed.replace("\n0,", "\nno,").replace("\n1,", "\nyes,").replace(",", "\t")
    add("words.tsv", words, positive="yes", split_seed=3)
    return found


def test_ten_files_have_the_keys_that_they_had(tmp_path: Path, cache: Path) -> None:
    files = ten_files(tmp_path)
    assert {name: load(path, **options).key for name, (path, options) in files.items()} == GOLDEN
    for name, (path, options) in files.items():
        assert in_blocks(path, cache, 3000, **options).key == GOLDEN[name]


@pytest.mark.parametrize(
    ("wrong", "fact"),
    [
        ("1,s1,12,1.5,7,9", "line 203 of .* has 6 fields"),
        ("1,s\0,12,1.5,7", "a NUL byte in line 203"),
        ('1,s"1,12,1.5,7', "a quote out of place in line 203"),
        ("1,s\r1,12,1.5,7", "a carriage return within row 203"),
        ("1,s\udcff,12,1.5,7", "byte 0xff in line 203"),
    ],
)
def test_an_error_names_the_line_of_the_file(wrong: str, fact: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = ["0,s1,12,1.5,7", "1,s2,12,1,0"] * 100
    content = "\n".join([",".join(["y", *VALUES]), "", *rows, wrong, *rows, ""])
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "BYTES", 500)
        with pytest.raises(DataError, match=fact):
            load(path)


KILLED = """
import os, signal, sys
from bsscale.data import prepared, table
add, count = prepared.ColumnFiles.add, 0
def killed(self, name, values):
    global count
    count += 1
    add(self, name, values)
    if count == 2:
        os.kill(os.getpid(), signal.SIGKILL)
prepared.ColumnFiles.add = killed
table.load(sys.argv[1], "y")
"""


def test_a_preparation_that_was_killed_leaves_nothing_to_the_next(
    tmp_path: Path, cache: Path
) -> None:
    path, other = tmp_path / "t.csv", tmp_path / "other.csv"
    path.write_text(text(0, 100))
    other.write_text(text(9, 100))
    undisturbed = facts(load(path))
    for stored in cache.glob("*.safetensors"):
        stored.unlink()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    [left] = cache.glob("*.scratch")
    # Another preparation, of which a living process holds the lock.
    alive = cache / "alive.scratch"
    alive.mkdir()
    with filelock.FileLock(alive.with_suffix(".lock")):
        load(other)
    assert not left.exists() and alive.exists()
    assert facts(load(path)) == undisturbed
