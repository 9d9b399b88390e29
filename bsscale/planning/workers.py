"""How many processes train the runs of a sweep or a study."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from bsscale.errors import ConfigError
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.planning.stacks import predicted_s

__all__ = ["WorkerCount", "choose_workers", "refuse_workers"]

# An estimate: less work than that is done sooner in this process than workers start.
WORTH_S = 10.0


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
    """

    count: int
    reason: str
    devices: tuple[int | None, ...]


def choose_workers(wanted: int | str, plans: Sequence[Plan], devices: Devices) -> WorkerCount:
    """As many workers as are asked for, or as the machine has cores or CUDA devices.

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
    if isinstance(wanted, int):
        if on_cuda and wanted > max(1, devices.cuda):
            raise ConfigError(
                f"workers={wanted} with {devices.cuda} CUDA devices: each worker has one",
                f"give workers=auto or workers={devices.cuda}; runs on one device share its step",
            )
        return _count(wanted, "asked for", on_cuda)
    if on_cuda:
        return _count(max(1, devices.cuda), "auto: one for each CUDA device", on_cuda)
    threads = max((plan.config.executor.threads for plan in plans), default=1)
    cores = max(1, len(os.sched_getaffinity(0)) // threads)
    virtual = [plan for plan in plans if plan.executor == "virtual"]
    seconds = sum(predicted_s(plan) for plan in virtual)
    most = min(cores, len(virtual))
    if most > 1 and seconds < WORTH_S:
        return _count(1, "auto: little work, done sooner in this process", on_cuda)
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
