"""Processes that train pieces of stacks: their start, what they say, and their end."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver, reduction
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from bsscale.data import Dataset
from bsscale.records.run_record import RunRecord
from bsscale.terminal.progress import Display
from bsscale.training.processes import STOP_S, block_ctrl_c
from bsscale.workers import messages
from bsscale.workers.shared import SharedDataset, share
from bsscale.workers.worker import STOP_AS_CTRL_C, work

__all__ = ["Assignment", "Pool", "environment_of_worker"]

log = logging.getLogger(__name__)

# How often a piece is handed out whose worker dies.
ATTEMPTS = 2
# One thread each: workers with pools of threads would fight for the cores.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}


@dataclass
class Assignment:
    """A piece to be trained, and what becomes of it.

    Attributes
    ----------
    work
        What the worker is sent; the number of its data set is filled in.
    dataset
        Its data.
    results
        The record of each run that it is about, or the error that ended it; None until then.
    died
        How its worker died for the last time; None: it did not.
    """

    work: messages.Work
    dataset: Dataset
    results: list[RunRecord | Exception] | None = None
    died: str | None = None
    attempts: int = 0


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    known: set[int] = field(default_factory=set)
    assignment: Assignment | None = None


class Pool:
    """Workers that stay until the pool is closed.

    Parameters
    ----------
    devices
        For each worker the CUDA device that it has; None: none.
    """

    def __init__(self, devices: Sequence[int | None]) -> None:
        self._devices = list(devices)
        self._workers: dict[int, _Worker] = {}
        # (the data sets are kept: their numbers are those of objects that must not go away)
        self._datasets: list[tuple[Dataset, SharedDataset | None]] = []

    def train(self, assignments: Sequence[Assignment], progress: Display) -> None:
        """Hand out assignments in their order, and wait until all are done.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            If this process is told to end: after the workers have written their checkpoints.
        """
        due = deque(assignments)
        try:
            while due or any(worker.assignment for worker in self._workers.values()):
                self._hand_out(due)
                self._listen(due, progress)
        except BaseException as error:
            self._stop(STOP_AS_CTRL_C if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
            raise

    def close(self) -> None:
        """Let the workers end, which have nothing to do."""
        for worker in self._workers.values():
            with suppress(OSError):  # it has ended already
                worker.connection.send(None)
        self._end(time.monotonic() + STOP_S)
        for _, shared in self._datasets:
            if shared is not None:
                shared.file.close()
        self._datasets.clear()

    def _hand_out(self, due: deque[Assignment]) -> None:
        for place in range(len(self._devices)):
            if not due:
                return
            worker = self._workers.get(place)
            if worker is None:
                worker = self._workers[place] = self._start(self._devices[place])
            if worker.assignment is None:
                number = self._number(due[0].dataset)
                worker.assignment = due.popleft()
                worker.assignment.attempts += 1
                with suppress(BrokenPipeError, ConnectionResetError):  # dead: `_listen` sees it
                    self._send(worker, worker.assignment.work, number)

    def _send(self, worker: _Worker, work: messages.Work, number: int) -> None:
        shared = self._datasets[number][1]
        if number not in worker.known:
            worker.known.add(number)
            if shared is None:
                worker.connection.send(messages.Data(number))
            else:
                worker.connection.send(messages.Data(number, shared.pickled, shared.places))
                reduction.send_handle(worker.connection, shared.file.fileno(), worker.process.pid)
        worker.connection.send(replace(work, dataset=number))

    def _number(self, dataset: Dataset) -> int:
        for number, (known, _) in enumerate(self._datasets):
            if known is dataset:
                return number
        self._datasets.append((dataset, share(dataset)))
        return len(self._datasets) - 1

    def _listen(self, due: deque[Assignment], progress: Display) -> None:
        """Wait until a worker says something or dies, and act on it."""
        # Its connection closes when a worker dies, after what it has said before.
        places = {worker.connection: place for place, worker in self._workers.items()}
        for connection in wait(list(places)):
            assert isinstance(connection, Connection)
            place = places[connection]
            worker = self._workers[place]
            while True:
                try:
                    if not connection.poll():
                        break
                    message = connection.recv()
                except (EOFError, OSError):
                    self._bury(place, due, progress)
                    break
                self._hear(worker, message, progress)

    def _hear(self, worker: _Worker, message: Any, progress: Display) -> None:
        if isinstance(message, messages.Advanced):
            for run, samples in message.samples.items():
                progress.advance(run, samples)
        elif isinstance(message, messages.Evaluated):
            progress.evaluated(message.run, message.state)
        elif isinstance(message, messages.Ended):
            progress.ended(message.run, message.status)
        elif isinstance(message, messages.Logged):
            with progress.printing():
                logging.getLogger(message.record.name).handle(message.record)
        else:
            assert isinstance(message, messages.Trained) and worker.assignment is not None
            worker.assignment.results = message.results
            worker.assignment = None

    def _bury(self, place: int, due: deque[Assignment], progress: Display) -> None:
        """A worker is dead: another one goes on with its runs, once."""
        worker = self._workers.pop(place)
        worker.connection.close()
        worker.process.join()
        how, assignment = _death(worker.process.exitcode), worker.assignment
        if assignment is None:
            return
        # (with resume=never the second attempt would refuse what the first has written)
        resumes = all(spec.plan.config.resume != "never" for spec in assignment.work.specs)
        again = assignment.attempts < ATTEMPTS and resumes
        with progress.printing():
            log.warning(
                "warning: worker %d %s; %s",
                place,
                how,
                "its runs go on in another one" if again else "its runs are given up",
            )
        if again:
            due.appendleft(assignment)
        else:
            assignment.died = f"its worker {how}"

    def _start(self, device: int | None) -> _Worker:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "bsscale.workers.worker", "bsscale.engines.eager"])
        environment = environment_of_worker(os.environ, device)
        with block_ctrl_c(), _environment(ONE_THREAD):
            forkserver.ensure_running()
        ours, theirs = multiprocessing.Pipe(duplex=True)
        process = context.Process(
            target=work, args=(theirs, environment, logging.getLogger().level), daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _stop(self, number: signal.Signals) -> None:
        """Ask the workers to end, and wait for their checkpoints."""
        for worker in self._workers.values():
            if worker.process.is_alive():
                os.kill(worker.process.pid or 0, number)
        self._end(time.monotonic() + STOP_S)

    def _end(self, deadline: float) -> None:
        """Wait until all workers have ended, and end those that have not by then."""
        open_ = {worker.connection: worker for worker in self._workers.values()}
        try:
            # What they say has to be read: a worker whose pipe is full would not end.
            while open_ and (ready := wait(list(open_), max(0.0, deadline - time.monotonic()))):
                for connection in ready:
                    assert isinstance(connection, Connection)
                    try:
                        message = connection.recv()
                    except (EOFError, OSError):
                        del open_[connection]
                        continue
                    if isinstance(message, messages.Logged):
                        logging.getLogger(message.record.name).handle(message.record)
        finally:
            for worker in self._workers.values():
                if worker.connection in open_ and worker.process.is_alive():
                    worker.process.kill()
                worker.process.join()
                worker.connection.close()
            self._workers.clear()


def environment_of_worker(environ: Mapping[str, str], device: int | None) -> dict[str, str]:
    """The environment variables of a worker.

    Parameters
    ----------
    environ
        Those of this process.
    device
        The worker's CUDA device, the only one that it sees, by its number among those that this
        process sees; None: none.
    """
    own = {**environ, **ONE_THREAD}
    if device is not None:
        visible = environ.get("CUDA_VISIBLE_DEVICES")
        own["CUDA_VISIBLE_DEVICES"] = visible.split(",")[device] if visible else str(device)
    return own


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that only what is started meanwhile has."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _death(code: int | None) -> str:
    """How a process ended, by its exit code."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "an unknown signal"
    hint = " (often: no memory was left)" if -code == signal.SIGKILL else ""
    return f"was killed by signal {-code}, {name}{hint}"
