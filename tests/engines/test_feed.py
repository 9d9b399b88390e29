"""Samples that threads read in advance are those that are read when they are needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from bsscale.data import Dataset, Samples, Schema, TrainStream
from bsscale.data.dataset import ArrayStream
from bsscale.data.synthetic import load
from bsscale.engines.eager import EagerEngine
from bsscale.engines.stacked import StackedEngine
from bsscale.engines.stacked.feed import Feed
from bsscale.errors import DataError
from bsscale.optimizers import SGDConfig
from tests.engines.runs import short_plan
from tests.helpers import MODELS

WIDTH, BATCH, AHEAD = 3, 8, 6
CPU = torch.device("cpu")
CLICKS = load(validation_samples=100, test_samples=100, cardinality=20)
FINITE = Dataset(
    CLICKS.schema,
    ArrayStream(CLICKS.train.read(0, 0, 101)),
    CLICKS.validation,
    CLICKS.test,
)
# Updates that are taken, between them a slot and what becomes of it: a run begins or ends.
TAKEN: list[int | tuple[int, tuple[int, int] | None]] = [
    6, 6, 2, 1, 9, 20, (1, None), 4, (1, (5, 0)), 3, 3, (0, (6, 11)), (2, None), 7, 6, 1,
]  # fmt: skip


@contextmanager
def feed(dataset: Dataset, stream: TrainStream, ahead: int) -> Iterator[Feed]:
    made = Feed(stream, dataset.schema, WIDTH, BATCH, CPU, torch.float32, ahead)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("dataset", [CLICKS, FINITE], ids=["endless", "finite"])
def test_reading_ahead_changes_no_sample(dataset: Dataset) -> None:
    before = threading.active_count()
    with feed(dataset, dataset.train, 0) as plain, feed(dataset, dataset.train, AHEAD) as ahead:
        assert threading.active_count() == before  # (threads start with the first samples)
        positions = {0: (3, 0), 1: (4, 2), 2: (3, 5)}
        for each in TAKEN:
            if isinstance(each, tuple):
                slot, run = each
                positions.pop(slot, None)
                positions |= {} if run is None else {slot: run}
                continue
            expected = plain.batches(plain.inputs(positions, each))
            found = ahead.batches(ahead.inputs(positions, each))
            for name, tensor in vars(expected).items():
                other = vars(found)[name]
                if tensor is None:  # (without weights of rows)
                    assert other is None
                    continue
                assert tensor.shape == other.shape == (each, WIDTH, BATCH, *tensor.shape[3:])
                assert all(torch.equal(tensor[:, slot], other[:, slot]) for slot in positions)
            positions = {slot: (seed, step + each) for slot, (seed, step) in positions.items()}
        assert threading.active_count() > before
    assert threading.active_count() == before


class Own:
    """A stream of the user's, which notes who reads it."""

    thread_safe = True
    samples_per_pass = 1000

    def __init__(self, ends_at: int = 1 << 60, wrong_at: int = 1 << 60) -> None:
        self.ends_at, self.wrong_at = ends_at, wrong_at
        self.readers: list[str] = []
        self.reads: list[tuple[int, int, int]] = []
        self.twice = threading.Event()

    def read(self, seed: int, start: int, stop: int) -> Samples:
        self.readers.append(threading.current_thread().name)
        self.reads.append((seed, start, stop))
        if len(self.reads) == 2:
            self.twice.set()
        if stop > self.ends_at:
            raise OSError("the tape has ended")
        samples = CLICKS.train.read(seed, start, stop)
        if start <= self.wrong_at < stop:
            samples.categorical[self.wrong_at - start, 1] = 21
        return samples


class Alone(Own):
    thread_safe = False


def test_the_next_samples_are_read_before_they_are_asked_for() -> None:
    stream = Own()
    with feed(CLICKS, stream, AHEAD) as ahead:
        ahead.inputs({0: (3, 0)}, 1)
        assert stream.twice.wait(60)
    chunk = AHEAD * BATCH
    assert stream.reads == [(3, 0, chunk), (3, chunk, 2 * chunk)]
    assert all(name.startswith("bsscale") for name in stream.readers)


def test_a_stream_that_is_not_thread_safe_is_read_by_the_engine_itself() -> None:
    stream = Alone()
    with feed(CLICKS, stream, AHEAD) as ahead:
        ahead.inputs({0: (3, 0)}, 2)
    assert stream.reads == [(3, 0, 2 * BATCH)]
    assert stream.readers == [threading.current_thread().name]


def test_an_error_of_a_thread_is_raised_where_its_samples_are_needed() -> None:
    stream = Own(ends_at=2 * AHEAD * BATCH)
    with feed(CLICKS, stream, AHEAD) as ahead:
        for step in range(0, 2 * AHEAD, 3):  # (the third chunk is read, and fails, meanwhile)
            ahead.inputs({0: (3, step)}, 3)
        with pytest.raises(OSError, match="the tape has ended"):
            ahead.inputs({0: (3, 2 * AHEAD)}, 1)
        # Another run may take the slot.
        ahead.inputs({0: (4, 0)}, 1)


@pytest.mark.parametrize("engine", [StackedEngine, EagerEngine])
def test_a_wrong_id_far_into_a_stream_is_refused_when_it_is_read(engine: Any) -> None:
    """(on CUDA it would end every run of the process)"""
    dataset = Dataset(CLICKS.schema, Own(wrong_at=1500), CLICKS.validation, CLICKS.test)
    plan = short_plan(model=MODELS["logistic"], optimizer=SGDConfig(), budget_samples=6400)
    trained = engine(plan, dataset)
    trained.begin(0, plan)
    trained.advance(46)  # 1,472 samples
    with pytest.raises(DataError, match="c1 has the id 21 in train, and its cardinality is 21"):
        trained.advance(1)


def test_numbers_of_other_types_become_the_engines() -> None:
    class Typed(Own):
        def read(self, seed: int, start: int, stop: int) -> Samples:
            samples = super().read(seed, start, stop)
            return Samples(
                samples.categorical, samples.numeric.astype(np.float64), samples.label.astype(int)
            )

    with feed(CLICKS, Typed(), 0) as plain:
        batches = plain.read({0: (3, 0)}, 2)
    assert batches.label.dtype == batches.numeric.dtype == torch.float32
    assert batches.categorical.dtype == torch.int32


def test_fields_may_be_missing() -> None:
    rows = FINITE.train.read(0, 0, 50)
    none = np.empty((50, 0), np.float32)
    for samples in (
        Samples(rows.categorical, none, rows.label),
        Samples(none.astype(np.int32), rows.numeric, rows.label),
    ):
        schema = Schema(("c",), (21,), ())  # (only the ids of a stream that is read are checked)
        made = Feed(ArrayStream(samples), schema, 2, 4, CPU, torch.float32)
        batches = made.read({1: (0, 0)}, 5)
        assert batches.numeric.shape == (5, 2, 4, samples.numeric.shape[1])
        assert batches.categorical.shape == (5, 2, 4, samples.categorical.shape[1])
