"""Turns of the contestants, each in a process of its own."""

from __future__ import annotations

import functools
import math
import resource
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from tests.benchmarks.bench_training import ours, peers, products
from tests.benchmarks.bench_training.contestant import Contestant, Seconds
from tests.benchmarks.bench_training.data import ROWS

MIN_STEPS = 48
WARM_UP = 20
STARTUP_MICRO_BATCH = 64


@functools.cache
def contestants() -> dict[str, Contestant]:
    every = peers.contestants() + ours.contestants() + products.contestants()
    return {contestant.name: contestant for contestant in every}


def measure(name: str, micro_batch: int, steps: int, warm_up: int) -> Seconds:
    """In a worker, which keeps the contestant and what it has built for its next turn."""
    return contestants()[name].measure(micro_batch, steps, warm_up)


def measure_steps(names: list[str], micro_batches: list[int], rounds: int) -> list[dict[str, Any]]:
    """Take turns for `rounds` rounds; one row per contestant and micro_batch."""
    spawn = get_context("spawn")
    workers = {name: ProcessPoolExecutor(1, mp_context=spawn) for name in names}
    rows: list[dict[str, Any]] = [
        {"contestant": name, "micro_batch": micro_batch, "runs": contestants()[name].runs}
        | {"steps": whole_epochs(micro_batch), "cpu_us": [], "wall_us": []}
        for micro_batch in micro_batches
        for name in names
    ]
    for _ in range(rounds):
        for row in rows:
            name, steps = row["contestant"], row["steps"]
            turn = workers[name].submit(measure, name, row["micro_batch"], steps, WARM_UP)
            for key, seconds in zip(("cpu_us", "wall_us"), turn.result(), strict=True):
                row[key].append(seconds / steps / row["runs"] * 1e6)
    for worker in workers.values():
        worker.shutdown()
    return rows


def whole_epochs(micro_batch: int) -> int:
    """Steps of the least whole number of epochs that has MIN_STEPS of them."""
    epoch = ROWS // micro_batch
    return epoch * math.ceil(MIN_STEPS / epoch)


def measure_startup(names: list[str], rounds: int) -> list[dict[str, Any]]:
    """CPU seconds of fresh processes, whose children are counted as well, in turns."""
    rows: list[dict[str, Any]] = [{"contestant": name, "cpu_s": []} for name in names]
    for _ in range(rounds):
        for row in rows:
            before = children_seconds()
            command = [sys.executable, "-m", __package__, "--startup", row["contestant"]]
            subprocess.run(command, check=True)
            row["cpu_s"].append(children_seconds() - before)
    return rows


def take_first_step(name: str) -> None:
    """What a fresh process does for measure_startup."""
    measure(name, STARTUP_MICRO_BATCH, steps=1, warm_up=0)


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
