"""The same training step over many processes: torch's DistributedDataParallel."""

from __future__ import annotations

import gc
import json
import multiprocessing.connection
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.multiprocessing.spawn import start_processes
from torch.nn.parallel import DistributedDataParallel

from bsscale.config import Config
from bsscale.data import Samples
from bsscale.engines.eager import EagerEngine
from bsscale.errors import RankError
from bsscale.plan import Plan

__all__ = ["DDPEngine", "launch"]

# A rank that waits this long for another one gives up. Peers notice a dead process at once by
# its closed connection; this bounds the wait for one that hangs.
COLLECTIVE_TIMEOUT_S = 300
# How long the surviving ranks may take to report before they are ended.
SETTLE_S = 5.0


class DDPEngine(EagerEngine):
    """One of ``plan.processes`` ranks, each on its own device.

    Its process group must exist (see `launch`). Gradients are averaged by
    DistributedDataParallel; scores are gathered, so that every rank sees the same ones.
    """

    def begin(self, slot: int, config: Config, plan: Plan) -> None:
        super().begin(slot, config, plan)
        self._forward = DistributedDataParallel(
            self._module, device_ids=[self.rank] if plan.device == "cuda" else None
        )

    def close(self) -> None:
        # Gloo can hang or abort if the process group goes while the DDP object lives.
        self._forward = self._module
        gc.collect()

    def _score(self, samples: Samples) -> npt.NDArray[np.float64]:
        # Shards differ by at most one row. Only the buffers of the exchange are of one length:
        # no sample is scored twice.
        bounds = np.linspace(0, len(samples), self.plan.processes + 1).astype(int)
        own = super()._score(samples[bounds[self.rank] : bounds[self.rank + 1]])
        longest = int(np.max(np.diff(bounds)))
        buffer = torch.zeros(longest, dtype=torch.float64, device=self.device)
        buffer[: len(own)] = torch.from_numpy(own)
        gathered = [torch.empty_like(buffer) for _ in range(self.plan.processes)]
        dist.all_gather(gathered, buffer)
        shards = zip(gathered, np.diff(bounds), strict=True)
        return np.concatenate([shard[:rows].cpu().numpy() for shard, rows in shards])

    def _synchronization(self, last: bool) -> AbstractContextManager[None]:
        forward = self._forward
        assert isinstance(forward, DistributedDataParallel)
        return nullcontext() if last else forward.no_sync()

    def _mean_over_ranks(self, value: Tensor) -> float:
        dist.all_reduce(value)
        return float(value) / self.plan.processes


def launch(function: Callable[[int, Any], None], argument: Any, plan: Plan) -> None:
    """Run ``function(rank, argument)`` in ``plan.processes`` processes on this host.

    Parameters
    ----------
    function
        An importable function; its process group is up when it is called.
    argument
        Anything picklable.
    plan
        The run's numbers.

    Raises
    ------
    RankError
        If a rank dies: with the error of the one that died first. The others are ended.
    """
    # A fork server that has torch loaded starts eight ranks in about a second; spawn takes ten.
    mp.set_forkserver_preload(["torch", "bsscale.engines.ddp"])
    with tempfile.TemporaryDirectory(prefix="bsscale-ranks-") as errors:
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        context = start_processes(  # type: ignore[no-untyped-call]
            _rank_main,
            args=(function, argument, plan, store.port, errors),
            nprocs=plan.processes,
            join=False,
            daemon=True,
            start_method="forkserver",
        )
        processes = context.processes
        try:
            waiting = {process.sentinel: process for process in processes}
            while waiting:
                for sentinel in multiprocessing.connection.wait(list(waiting)):
                    process = waiting.pop(sentinel)
                    process.join()
                    if process.exitcode != 0:
                        raise _first_error(processes, Path(errors))
        finally:
            for process in processes:
                if process.is_alive():
                    process.kill()
            for process in processes:
                process.join()


def _rank_main(
    rank: int,
    function: Callable[[int, Any], None],
    argument: Any,
    plan: Plan,
    port: int,
    errors: str,
) -> None:
    """A rank's life: threads, process group, work, and its error where the parent finds it."""
    # Before anything else: with a thread pool each, ranks fight for the cores (30 times slower).
    torch.set_num_threads(plan.threads)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    try:
        store = TCPStore("127.0.0.1", port, is_master=False)
        if plan.device == "cuda":
            torch.cuda.set_device(rank)
        dist.init_process_group(
            "nccl" if plan.device == "cuda" else "gloo",
            store=store,
            rank=rank,
            world_size=plan.processes,
            timeout=timedelta(seconds=COLLECTIVE_TIMEOUT_S),
        )
        function(rank, argument)
        dist.destroy_process_group()
    except BaseException as error:
        report = {
            "rank": rank,
            "at_s": time.monotonic(),
            "summary": f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
        }
        path = Path(errors, f"{rank}.json")
        path.with_suffix(".part").write_text(json.dumps(report), encoding="utf-8")
        path.with_suffix(".part").replace(path)
        # Not through the interpreter's shutdown: it could hang in the process group, and the
        # peers should see this rank's connections close after its report is written.
        os._exit(1)


def _first_error(processes: list[Any], errors: Path) -> RankError:
    """The error that started it: peers of a dead rank fail too, with errors about it."""
    deadline = time.monotonic() + SETTLE_S
    killed = [(rank, p.exitcode) for rank, p in enumerate(processes) if (p.exitcode or 0) < 0]
    while not killed and time.monotonic() < deadline:
        alive = [process.sentinel for process in processes if process.exitcode is None]
        if not alive or not multiprocessing.connection.wait(alive, deadline - time.monotonic()):
            break
        killed = [(rank, p.exitcode) for rank, p in enumerate(processes) if (p.exitcode or 0) < 0]
    if killed:
        rank, exitcode = killed[0]
        return RankError(
            f"rank {rank} of {len(processes)} was killed by signal {-exitcode}",
            "signal 9 often means that the machine ran out of memory: lower micro_batch or gpus",
        )
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in errors.glob("*.json")]
    if not reports:
        codes = {rank: process.exitcode for rank, process in enumerate(processes)}
        return RankError(f"a rank ended without an error of its own (exit codes {codes})")
    first = min(reports, key=lambda report: float(report["at_s"]))
    return RankError(
        f"rank {first['rank']} of {len(processes)} failed: {first['summary']}\n"
        f"{first['traceback'].rstrip()}"
    )
