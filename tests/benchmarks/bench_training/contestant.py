"""What a contestant of the benchmark has to offer, and a clock for it."""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol

from tests.benchmarks.bench_training.data import DEVICE


class Seconds(NamedTuple):
    """CPU time of the process and wall time: a point in time, or what lies between two."""

    cpu: float
    wall: float

    @classmethod
    def now(cls) -> Seconds:
        if DEVICE == "cuda":  # what was asked of it has to be done
            import torch

            torch.cuda.synchronize()
        return cls(time.process_time(), time.perf_counter())

    def since(self, start: Seconds) -> Seconds:
        return Seconds(self.cpu - start.cpu, self.wall - start.wall)


class Contestant(Protocol):
    """One way to train; it imports what it trains with when it is first measured."""

    @property
    def name(self) -> str: ...

    @property
    def runs(self) -> int:
        """Training runs that one step advances."""

    def measure(self, micro_batch: int, steps: int, warm_up: int) -> Seconds:
        """Time `steps` steps, after building whatever is not built yet and `warm_up` steps.

        A later call may go on with what an earlier one with the same `micro_batch` has built.
        """
