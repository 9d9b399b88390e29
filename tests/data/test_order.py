from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsscale.data import ArrayStream, Dataset, Samples, Schema, table
from bsscale.data.order import ORDERS, BlockOrder, SampleOrder
from bsscale.errors import DataError

SEEDS = st.integers(0, 2**32 - 1)


@given(rows=st.integers(1, 50), seed=SEEDS, cuts=st.lists(st.integers(0, 200), max_size=12))
def test_cuts_do_not_change_the_stream(rows: int, seed: int, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 200]
    order = SampleOrder(rows, seed)
    parts = [order.indices(a, b) for a, b in pairwise(edges)]
    assert np.array_equal(np.concatenate(parts), SampleOrder(rows, seed).indices(0, 200))


@given(rows=st.integers(1, 50), seed=SEEDS, number=st.integers(0, 1000))
def test_every_pass_is_a_permutation(rows: int, seed: int, number: int) -> None:
    seen = SampleOrder(rows, seed).indices(number * rows, (number + 1) * rows)
    assert sorted(seen.tolist()) == list(range(rows))


@given(seed=SEEDS, positions=st.lists(st.integers(0, 3000), min_size=1, max_size=10))
def test_any_position_in_any_order(seed: int, positions: list[int]) -> None:
    order = SampleOrder(100, seed)
    stream = SampleOrder(100, seed).indices(0, 3001)
    for position in positions:
        assert order.indices(position, position + 1).tolist() == [stream[position]]


def test_passes_and_seeds_differ() -> None:
    order = SampleOrder(1000, 0)
    first, second = order.indices(0, 1000), order.indices(1000, 2000)
    other = SampleOrder(1000, 1).indices(0, 1000)
    for one, two in ((first, second), (first, other)):
        assert (one == two).mean() < 0.02


def numbered(rows: int) -> Samples:
    number = np.arange(rows)
    return Samples(
        number[:, None].astype(np.int32),
        -number[:, None].astype(np.float32),
        (number % 2).astype(np.float32),
    )


def test_a_stream_keeps_the_rows_together() -> None:
    stream = ArrayStream(numbered(10))
    read = stream.read(seed=3, start=5, stop=25)
    rows = SampleOrder(10, 3).indices(5, 25)
    assert stream.samples_per_pass == 10
    assert read.categorical[:, 0].tolist() == rows.tolist()
    assert read.numeric[:, 0].tolist() == (-rows).tolist()
    assert read.label.tolist() == (rows % 2).tolist()
    assert len(stream.read(seed=3, start=10, stop=10)) == 0


def test_samples_by_slice_and_by_rows() -> None:
    samples = numbered(10)
    assert samples[2:4].categorical[:, 0].tolist() == [2, 3]
    assert samples[np.array([7, 1])].categorical[:, 0].tolist() == [7, 1]


def test_mismatched_arrays_are_refused() -> None:
    samples = numbered(10)
    with pytest.raises(DataError, match="different lengths"):
        Samples(samples.categorical, samples.numeric[:5], samples.label)
    with pytest.raises(DataError, match="1 categorical fields have 0"):
        Schema(("a",), (), ())
    with pytest.raises(DataError, match="no feature"):
        Schema((), (), ())


def test_dataset_from_arrays() -> None:
    schema = Schema(("a",), (10,), ("b",))
    dataset = Dataset.from_arrays(schema, numbered(10), numbered(4), numbered(3), ["a note"])
    assert dataset.train.samples_per_pass == 10
    assert (len(dataset.validation), len(dataset.test)) == (4, 3)
    assert dataset.notes == ("a note",)
    assert dataset.best_possible is None


def test_blocks_show_every_row_once_in_a_pass_however_the_stream_is_cut() -> None:
    rows = 3 * BlockOrder.WINDOW_BLOCKS * BlockOrder.BLOCK_ROWS // 2 + 77
    whole = BlockOrder(rows, seed=3).indices(0, 2 * rows)
    for number in range(2):
        one_pass = whole[number * rows : (number + 1) * rows]
        assert (np.sort(one_pass) == np.arange(rows)).all()
    assert (whole[:rows] != whole[rows:]).any()
    assert (BlockOrder(rows, seed=4).indices(0, 100) != whole[:100]).any()
    cuts = [0, 1, 5000, 262_143, 262_145, rows - 1, rows + 1, rows + 300_000, 2 * rows]
    parts = BlockOrder(rows, seed=3)
    cut = [parts.indices(a, b) for a, b in pairwise(cuts)]
    assert (np.concatenate(cut) == whole).all()
    assert (BlockOrder(rows, seed=3).indices(300_000, 300_100) == whole[300_000:300_100]).all()


def test_a_batch_of_blocks_comes_from_one_window() -> None:
    rows = 4 * BlockOrder.WINDOW_BLOCKS * BlockOrder.BLOCK_ROWS
    order = BlockOrder(rows, seed=0)
    window = order.indices(0, rows // 4)
    assert len(np.unique(window // BlockOrder.BLOCK_ROWS)) == BlockOrder.WINDOW_BLOCKS
    batch = order.indices(0, 1024)
    assert len(np.unique(batch // BlockOrder.BLOCK_ROWS)) > 200  # (of all blocks of its window)
    assert set(batch.tolist()) <= set(window.tolist())


@pytest.mark.parametrize("rows", [1, 5, 1023, 1024, 1025])
def test_a_few_rows_in_blocks(rows: int) -> None:
    found = BlockOrder(rows, seed=1).indices(0, 3 * rows)
    assert (np.sort(found.reshape(3, rows), axis=1) == np.arange(rows)).all()
    assert BlockOrder(rows, seed=1).indices(2, 2).tolist() == []


def test_the_order_is_part_of_the_key_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("y,x\n" + "0,1\n1,2\n1,3\n" * 1000)
    plain, blocks = (table.load(str(path), "y", order=name) for name in ORDERS)
    assert plain.key != blocks.key
    assert isinstance(blocks.train, ArrayStream) and isinstance(plain.train, ArrayStream)
    assert (blocks.train.samples.label == plain.train.samples.label).all()
    copied = pickle.loads(pickle.dumps(blocks.train))
    assert (copied.read(0, 5, 90).label == blocks.train.read(0, 5, 90).label).all()
    assert (blocks.train.rows(0, 0, 90) != plain.train.rows(0, 0, 90)).any()
    with pytest.raises(DataError, match="order is 'random'"):
        table.load(str(path), "y", order="random")
