"""How many processes train the runs of a sweep or a study."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bsscale.errors import ConfigError
from bsscale.planning.devices import Devices
from bsscale.planning.memory import USABLE, in_bytes
from bsscale.planning.plan import Plan
from bsscale.planning.stacks import make_stacks, predicted_s

__all__ = ["WorkerCount", "choose_workers", "refuse_workers"]

# An estimate: less work than that is done sooner in this process than workers start.
WORTH_S = 10.0
# Memory of a worker without models and data: 240 MB are resident, of which it shares most with the
# others; torch's compiler takes more.
PROCESS_BYTES = 400 * 10**6


@dataclass(frozen=True)
class WorkerCount:
    """How many workers there are.

    Attributes
    ----------
    count
        Processes that train; 1: this process itself.
    reason
        Why, in a few words.
    devices
        For each worker the CUDA device that it has, by its number on this machine; None: none.
    warning
        What may go wrong with so many; empty: nothing.
    """

    count: int
    reason: str
    devices: tuple[int | None, ...]
    warning: str = ""


def choose_workers(wanted: int | str, plans: Sequence[Plan], devices: Devices) -> WorkerCount:
    """As many workers as are asked for, or as the machine has cores or CUDA devices.

    On a CPU, auto starts at most as many as fit into the memory. A larger number that is asked for
    has a warning. It is not refused, because memory is only predicted, and because a worker that
    is killed loses little: its runs go on from their checkpoints.

    Parameters
    ----------
    wanted
        A number, or auto.
    plans
        Of the runs that they are to train.
    devices
        Of this machine.

    Raises
    ------
    ConfigError
        If several workers would have one CUDA device.
    """
    on_cuda = any(plan.device == "cuda" for plan in plans)
    virtual = [plan for plan in plans if plan.executor == "virtual"]
    if isinstance(wanted, int):
        if on_cuda and wanted > max(1, devices.cuda):
            raise ConfigError(
                f"workers={wanted} with {devices.cuda} CUDA devices: each worker has one",
                f"give workers=auto or workers={devices.cuda}; runs on one device share its step",
            )
        chosen = _count(wanted, "asked for", on_cuda)
        return chosen if on_cuda else _warned(chosen, virtual, devices.host_memory_bytes)
    if on_cuda:
        most = min(devices.cuda, len(virtual))
        each = "run" if most < devices.cuda else "CUDA device"
        return _count(max(1, most), f"auto: one for each {each}", on_cuda)
    threads = max((plan.config.executor.threads for plan in plans), default=1)
    cores = max(1, len(os.sched_getaffinity(0)) // threads)
    seconds = sum(predicted_s(plan) for plan in virtual)
    most = min(cores, len(virtual))
    if most > 1 and seconds < WORTH_S:
        return _count(1, "auto: little work, done sooner in this process", on_cuda)
    if (fitting := _fitting(virtual, devices.host_memory_bytes)) is not None and fitting < most:
        return _count(fitting, f"auto: memory for {fitting} worker{'s' * (fitting > 1)}", on_cuda)
    if most < cores:
        return _count(max(1, most), "auto: one for each run", on_cuda)
    return _count(cores, "auto: one for each core", on_cuda)


def refuse_workers(wanted: int | str, why: str, remedy: str) -> None:
    """Raise ConfigError for a number of workers that changes nothing."""
    if wanted not in ("auto", 1):
        raise ConfigError(f"workers={wanted} {why}", remedy)


def _count(count: int, reason: str, on_cuda: bool) -> WorkerCount:
    devices = tuple(k if on_cuda and count > 1 else None for k in range(count))
    return WorkerCount(count, reason, devices)


def _warned(chosen: WorkerCount, plans: Sequence[Plan], memory_bytes: int | None) -> WorkerCount:
    """A number of workers, with a warning if they do not fit into the memory of the machine."""
    count = min(chosen.count, len(plans))
    fitting = _fitting(plans, memory_bytes)
    if count <= 1 or fitting is None or fitting >= count:
        return chosen
    assert memory_bytes is not None
    shared, each = _workers_bytes(plans)
    warning = (
        f"they take about {in_bytes(shared + count * each)} of memory, and this machine has "
        f"{in_bytes(memory_bytes)}: workers={fitting} fits"
    )
    return replace(chosen, warning=warning)


def _fitting(plans: Sequence[Plan], memory_bytes: int | None) -> int | None:
    """How many workers fit into the memory of the machine; None: not known."""
    if memory_bytes is None or any(plan.memory is None for plan in plans):
        return None
    shared, each = _workers_bytes(plans)
    return max(1, int(USABLE * memory_bytes - shared) // each)


def _workers_bytes(plans: Sequence[Plan]) -> tuple[int, int]:
    """What all workers share, and what each takes: its process, and the largest stack."""
    shared, each = PROCESS_BYTES, 0
    data: dict[str, int] = {}
    for stack in make_stacks(plans):
        plan = plans[stack.members[0]]
        assert plan.memory is not None
        own = plan.memory.of_stack(stack.width)
        # The first process has read the data, and the workers map a file of them.
        data[repr(plan.config.dataset)] = 2 * plan.memory.data_bytes
        if plan.config.precision != "fp64":  # (whose numbers each worker converts)
            own -= plan.memory.data_bytes
        each = max(each, own)
    return shared + sum(data.values()), PROCESS_BYTES + each
