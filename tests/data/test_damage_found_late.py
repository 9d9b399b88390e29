"""A large file of the cache is not read as a whole at the start: its blocks are checked when they
are read for the first time."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors

from bsscale.data import ArrayStream, Dataset, table
from bsscale.errors import DataError
from bsscale.files import checked
from bsscale.files.block_sums import BLOCK_BYTES, DamagedError
from bsscale.files.blocks import Blocks, write_blocks
from bsscale.files.checked import map_checked
from bsscale.files.mapped import check_pages
from bsscale.workers.shared import share

ROWS = 50_000


@pytest.fixture
def source(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(checked, "SMALL_BYTES", 0)
    rng = np.random.default_rng(0)
    path = tmp_path / "clicks.csv"
    values = rng.integers(0, 9, (ROWS, 2))
    label = rng.integers(0, 2, ROWS)
    lines = [f"{y},{a},c{b}\n" for y, (a, b) in zip(label, values.tolist(), strict=True)]
    path.write_text("click,price,city\n" + "".join(lines))
    load(path)
    return path


def load(source: Path) -> Dataset:
    return table.load(str(source), "click")


def flip(cache: Path, array: str, row: int) -> Path:
    """Change one bit of a row of an array on disk."""
    (path,) = cache.glob("*.safetensors")
    with safetensors.safe_open(path, framework="numpy") as file:
        names = list(file.offset_keys())
        sizes = {name: file.get_tensor(name).nbytes for name in names}
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    place = header + sum(sizes[name] for name in names[: names.index(array)]) + 4 * row
    with path.open("r+b") as file:
        file.seek(place)
        [byte] = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 4]))
    return path


def rows_of(dataset: Dataset, rows: list[int]) -> None:
    assert isinstance(dataset.train, ArrayStream)
    dataset.train.samples[np.array(rows)]


def test_a_damaged_row_is_found_when_it_is_read(
    source: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = 3 * BLOCK_BYTES // 8
    path = flip(cache, "train.numeric", bad)
    dataset = load(source)
    rows_of(dataset, [0, 1])
    with pytest.raises(DataError, match="are damaged") as caught:
        rows_of(dataset, [0, bad])
    assert str(path) in caught.value.fact
    assert "start again" in caught.value.remedy
    # The next start prepares the data again.
    assert not path.exists()
    rows_of(load(source), [0, bad])
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("array", ["train.label", "train.categorical"])
def test_the_stream_finds_it_in_the_first_pass(source: Path, cache: Path, array: str) -> None:
    flip(cache, array, 30_000)
    stream = load(source).train
    with pytest.raises(DataError, match="are damaged"):
        for start in range(0, stream.samples_per_pass, 1000):
            stream.read(0, start, start + 1000)


def test_damage_of_a_held_out_split_is_found_before_it_is_evaluated(
    source: Path, cache: Path
) -> None:
    flip(cache, "validation.label", 7)
    with pytest.raises(DataError, match="are damaged"):
        _ = table.load(str(source), "click", validation_rows=1000).evaluated
    load(source)
    flip(cache, "test.numeric", 9)
    with pytest.raises(DataError, match="are damaged"):
        load(source).test.verify()


def test_what_other_processes_share_is_checked_before(source: Path, cache: Path) -> None:
    flip(cache, "train.numeric", 20_000)
    with pytest.raises(DataError, match="are damaged"):
        share(load(source))


def test_a_file_that_becomes_shorter_while_it_is_mapped_is_an_error(
    source: Path, cache: Path
) -> None:
    dataset = load(source)
    (path,) = cache.glob("*.safetensors")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match=r"damaged: it has .* bytes and had"):
        rows_of(dataset, [0])


def test_a_file_without_checksums_of_blocks_is_checked_as_a_whole(
    source: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An earlier bsscale has written it."""
    (path,) = cache.glob("*.safetensors")
    arrays, text = checked.read_checked(path)
    checked.write_checked(path, arrays, text)
    before = path.read_bytes()
    load(source)
    assert path.read_bytes() == before
    flip(cache, "train.numeric", 20_000)
    load(source)
    [warning] = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert "checksum" in warning


def test_every_block_of_a_long_row_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked, "SMALL_BYTES", 0)
    path = tmp_path / "long.safetensors"
    row = np.zeros((4, BLOCK_BYTES), np.float32)  # (of four blocks)
    write_blocks(path, {"rows": Blocks.of(row)}, "")
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    content[header + row[0].nbytes * 3 // 2] ^= 1  # (in the middle of row 1)
    path.write_bytes(content)
    arrays, _ = map_checked(path)
    with pytest.raises(DamagedError):
        check_pages(arrays["rows"], np.array([1]))
