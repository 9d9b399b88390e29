"""The processes of a run over many: their start, their group, their end."""

from __future__ import annotations

import json
import multiprocessing.connection
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]
from torch.multiprocessing.spawn import start_processes

from bsscale.errors import RankError
from bsscale.planning.plan import Plan
from bsscale.planning.world import World

__all__ = [
    "STOP_S",
    "TERMINATED",
    "Ranks",
    "block_ctrl_c",
    "broadcast",
    "end_with_parent",
    "is_lost_peer",
    "join",
    "launch",
]

# A rank that waits this long for another one gives up. Over gloo, peers notice a dead process at
# once by its closed connection, and this bounds the wait for one that hangs. Over NCCL they wait
# this long, and then its watchdog ends them by signal 6: `launch` and torchrun's agent end them
# before, srun does so with --kill-on-bad-exit.
COLLECTIVE_TIMEOUT_S = 300
# How long the surviving ranks may take to report before they are ended.
SETTLE_S = 5.0
# How often a rank looks whether torchrun's agent is still there.
WATCH_S = 0.5
# How long ranks that were asked to end may take over a checkpoint.
STOP_S = 30.0
# Exit code of a rank that was asked to end: that of a process ended by SIGTERM.
TERMINATED = 128 + signal.SIGTERM


class Ranks:
    """The ranks of a run, which agree on signals over their process group (see `Peers`)."""

    def agree(self, signal: int) -> int:
        highest = torch.tensor(signal)
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        return int(highest)

    def resume(self) -> None:
        try:
            self.agree(0)
        except RuntimeError:  # a peer has ended, as the signal told it to
            sys.exit(TERMINATED)


def launch(function: Callable[[World, Any], None], argument: Any, plan: Plan) -> None:
    """Run ``function(world, argument)`` in ``plan.processes`` processes on this host.

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

    Notes
    -----
    A signal that ends this process is passed on as SIGTERM to the ranks, which have
    `STOP_S` to write a checkpoint. If this process is killed the ranks end too.
    """
    # A fork server that has torch loaded starts eight ranks in about a second; spawn takes ten.
    mp.set_forkserver_preload(["torch", "bsscale.training.ranks"])
    with block_ctrl_c():
        forkserver.ensure_running()
    with tempfile.TemporaryDirectory(prefix="bsscale-ranks-") as errors, _loopback() as listening:
        store = TCPStore(
            "127.0.0.1",
            listening.getsockname()[1],
            is_master=True,
            wait_for_workers=False,
            # (torch itself would listen on every interface)
            master_listen_fd=os.dup(listening.fileno()),
        )
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
        except (KeyboardInterrupt, SystemExit):
            _stop(processes)
            raise
        finally:
            for process in processes:
                if process.is_alive():
                    process.kill()
            for process in processes:
                process.join()


@contextmanager
def block_ctrl_c() -> Iterator[None]:
    """Block Ctrl-C and hangup in processes that are started in this context.

    A terminal sends both signals to the whole process group.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def join(world: World, plan: Plan) -> Iterator[None]:
    """The process group of processes that something else has started.

    Parameters
    ----------
    world
        This process's place among them.
    plan
        The run's numbers.
    """
    torch.set_num_threads(plan.config.executor.threads)
    if world.source == "torchrun":  # its agent starts them in sessions of their own
        threading.Thread(target=end_with_parent, args=(_wait_for_agent,), daemon=True).start()
    if world.on_one_host:  # nothing needs to be reached from elsewhere
        _use_loopback()
    with _process_group(world, plan, _store(world)):
        yield


def broadcast(data: bytes | None, world: World) -> bytes:
    """Give every rank what rank 0 has.

    Parameters
    ----------
    data
        Rank 0's; of others it is ignored.
    world
        This process's place.
    """
    data = b"" if data is None or world.rank > 0 else data
    length = torch.tensor(len(data))
    dist.broadcast(length, 0)
    buffer = torch.zeros(int(length), dtype=torch.uint8)
    if world.rank == 0:
        buffer.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    dist.broadcast(buffer, 0)
    return buffer.numpy().tobytes()


def is_lost_peer(error: Exception) -> bool:
    """Whether an error only says that another rank has gone."""
    if isinstance(error, dist.DistError):
        return True
    # (Gloo's are plain RuntimeErrors)
    return isinstance(error, RuntimeError) and "gloo/transport" in str(error)


def _rank_main(
    rank: int,
    function: Callable[[World, Any], None],
    argument: Any,
    plan: Plan,
    port: int,
    errors: str,
) -> None:
    """A rank's life: threads, process group, work, and its error where the parent finds it."""
    # Before anything else: with a thread pool each, ranks fight for the cores (30 times slower).
    torch.set_num_threads(plan.config.executor.threads)
    _use_loopback()
    # A terminal's Ctrl-C reaches this process too. Ignore it: the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=end_with_parent, args=(parent.join, Path(errors)), daemon=True).start()
    world = World(plan.processes, rank, rank, plan.processes, "bsscale")
    try:
        with _process_group(world, plan, TCPStore("127.0.0.1", port, is_master=False)):
            function(world, argument)
    except SystemExit:
        os._exit(TERMINATED)
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
        # Exit without the interpreter's shutdown, which could hang in the process group. Peers must
        # see the connections of this rank close only after it has written its report.
        os._exit(1)


@contextmanager
def _process_group(world: World, plan: Plan, store: Store | None) -> Iterator[None]:
    """The default process group of torch; without a store, as the environment says (env://)."""
    if plan.device == "cuda":
        torch.cuda.set_device(world.device_index(torch.cuda.device_count()))
    dist.init_process_group(
        # Signals and checkpoints are exchanged from the CPU, without waiting for the device.
        "cpu:gloo,cuda:nccl" if plan.device == "cuda" else "gloo",
        store=store,
        rank=-1 if store is None else world.rank,
        world_size=-1 if store is None else world.size,
        timeout=timedelta(seconds=COLLECTIVE_TIMEOUT_S),
    )
    yield
    dist.destroy_process_group()


def _store(world: World) -> Store | None:
    """Where processes find each other; None: where the environment says (env://)."""
    if world.store is not None:
        return _rendezvous_store(*world.store, world)
    if world.attempt is None:
        return None
    agents = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    # The agent keeps its store over restarts. Without a prefix, ranks would find the addresses of
    # those of an earlier attempt there, and wait for them.
    return PrefixStore(f"attempt {world.attempt}", agents)


def _rendezvous_store(host: str, port: int, world: World) -> TCPStore:
    """The store of processes that have no agent: rank 0's host holds it."""
    if world.rank > 0:
        return TCPStore(host, port, is_master=False)
    with socket.create_server(("127.0.0.1" if world.on_one_host else "", port)) as listening:
        return TCPStore(
            host,
            port,
            is_master=True,
            wait_for_workers=False,
            master_listen_fd=os.dup(listening.fileno()),
        )


@contextmanager
def _loopback() -> Iterator[socket.socket]:
    """A socket that listens where only this host can reach it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def _use_loopback() -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")


def _wait_for_agent() -> None:
    """Wait until the parent process has ended, even if it is still a zombie."""
    agent = os.getppid()
    while os.getppid() == agent:
        time.sleep(WATCH_S)


def end_with_parent(wait: Callable[[], object], left: Path | None = None) -> None:
    """End this process when its parent has gone, and remove the folder that the parent made."""
    wait()
    if left is not None:
        shutil.rmtree(left, ignore_errors=True)
    os._exit(1)


def _stop(processes: list[Any]) -> None:
    """Ask the ranks to end, and wait for their checkpoint."""
    for process in processes:
        if process.is_alive():
            process.terminate()
    deadline = time.monotonic() + STOP_S
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))


def _first_error(processes: list[Any], errors: Path) -> RankError:
    """The first error: when a rank dies its peers fail too, with errors about the dead rank."""
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
