"""What a pool and its workers say to each other."""

from __future__ import annotations

import logging
import pickle
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bsscale.errors import BsscaleError
from bsscale.planning.stacks import Stack
from bsscale.records.run_record import RunRecord
from bsscale.training.outcome import first_line
from bsscale.training.spec import RunSpec

__all__ = [
    "Advanced",
    "Data",
    "Ended",
    "Evaluated",
    "Logged",
    "SentLog",
    "SentProgress",
    "Trained",
    "Work",
    "sendable",
]

# Steps are told at most so often.
SECONDS_BETWEEN_STEPS = 0.2


@dataclass(frozen=True)
class Data:
    """To a worker: a data set, by a number; its file follows.

    Attributes
    ----------
    number
        What later work calls it by.
    pickled, places
        As in a `SharedDataset`; None: it cannot be sent, and is loaded anew.
    """

    number: int
    pickled: bytes | None = None
    places: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Work:
    """To a worker: what to train.

    Attributes
    ----------
    dataset
        Its number.
    stack
        The step and the width.
    specs
        All runs of the stack.
    numbers
        What the pool calls these runs.
    left_out
        The places of those that others train.
    """

    dataset: int
    stack: Stack
    specs: Sequence[RunSpec]
    numbers: Sequence[int]
    left_out: frozenset[int]


@dataclass(frozen=True)
class Advanced:
    """From a worker: runs have trained on so many more samples, by their numbers."""

    samples: dict[int, int]


@dataclass(frozen=True)
class Evaluated:
    """From a worker: a run was evaluated."""

    run: int
    state: str


@dataclass(frozen=True)
class Ended:
    """From a worker: a run has ended."""

    run: int
    status: str


@dataclass(frozen=True)
class Logged:
    """From a worker: something for the log."""

    record: logging.LogRecord


@dataclass(frozen=True)
class Trained:
    """From a worker: its work is done; the record of each run, or the error that ended it."""

    results: list[RunRecord | Exception]


@dataclass
class SentProgress:
    """What `terminal.progress.Progress` is in a worker: the pool's display is told."""

    send: Callable[[Any], None]
    numbers: Sequence[int]
    _samples: dict[int, int] = field(default_factory=dict)
    _sent_s: float = 0.0

    def advance(self, run: int, samples: int) -> None:
        number = self.numbers[run]
        self._samples[number] = self._samples.get(number, 0) + samples
        if time.monotonic() - self._sent_s >= SECONDS_BETWEEN_STEPS:
            self._send_samples()

    def evaluated(self, run: int, state: str) -> None:
        self._send_samples()
        self.send(Evaluated(self.numbers[run], state))

    def ended(self, run: int, status: str) -> None:
        self._send_samples()
        self.send(Ended(self.numbers[run], status))

    def close(self) -> None:
        """The display is the pool's."""

    @contextmanager
    def printing(self) -> Iterator[None]:
        yield

    def _send_samples(self) -> None:
        if self._samples:
            self.send(Advanced(self._samples))
            self._samples = {}
        self._sent_s = time.monotonic()


class SentLog(logging.Handler):
    """Sends what is logged in a worker to the pool, which has the console and the log files."""

    def __init__(self, send: Callable[[Any], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        # Arguments and tracebacks may be anything; text can be sent.
        plain = logging.makeLogRecord({**record.__dict__, "msg": record.getMessage(), "args": None})
        if record.exc_info:
            plain.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            plain.exc_info = None
        self._send(Logged(plain))


def sendable(results: Sequence[RunRecord | Exception]) -> list[RunRecord | Exception]:
    """Results whose errors can be sent; another kind of error is replaced by its first line."""
    sent: list[RunRecord | Exception] = []
    for result in results:
        try:
            pickle.loads(pickle.dumps(result))
        except Exception:
            assert isinstance(result, Exception)
            sent.append(BsscaleError(first_line(result)))
        else:
            sent.append(result)
    return sent
