"""What a worker does: it trains what it is sent, one piece after the other."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing import reduction
from multiprocessing.connection import Connection

from bsscale.data import Dataset, load_dataset
from bsscale.terminal.console import make_output_safe
from bsscale.training.processes import TERMINATED, end_with_parent
from bsscale.training.run import run_together
from bsscale.workers.messages import Data, SentLog, SentProgress, Trained, Work, sendable
from bsscale.workers.shared import open_shared

__all__ = ["STOP_AS_CTRL_C", "work"]

# What a pool sends for Ctrl-C. A terminal sends that to all processes at once; only the pool's is
# to act on it.
STOP_AS_CTRL_C = signal.SIGUSR1


def work(connection: Connection, environment: Mapping[str, str], level: int) -> None:
    """A worker's life.

    Parameters
    ----------
    connection
        To the pool. When it closes, the worker ends.
    environment
        The environment variables.
    level
        The least level of what is logged.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(STOP_AS_CTRL_C, _interrupt)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    os.environ.clear()
    os.environ.update(environment)
    make_output_safe()
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=end_with_parent, args=(parent.join,), daemon=True).start()
    lock = threading.Lock()

    def send(message: object) -> None:
        with lock:
            connection.send(message)

    root = logging.getLogger()
    root.handlers, root.level = [SentLog(send)], level
    try:
        _work(connection, send)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the pool is gone
        os._exit(1)
    except KeyboardInterrupt:
        sys.exit(TERMINATED)


def _work(connection: Connection, send: Callable[[object], None]) -> None:
    datasets: dict[int, Dataset | None] = {}
    while (message := connection.recv()) is not None:
        if isinstance(message, Data):
            if message.pickled is None:
                datasets[message.number] = None
            else:
                descriptor = reduction.recv_handle(connection)
                data = open_shared(message.pickled, message.places, descriptor)
                datasets[message.number] = data
            continue
        assert isinstance(message, Work)
        dataset = datasets[message.dataset]
        if dataset is None:
            dataset = load_dataset(message.specs[0].plan.config.dataset)
            datasets[message.dataset] = dataset
        results = run_together(
            message.specs,
            dataset,
            message.stack,
            message.left_out,
            SentProgress(send, message.numbers),
        )
        send(Trained(sendable(results)))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
