"""The choice of the executor: one process, or many.

``executor=auto`` gives a single run all devices (ddp), and each of many runs a slot in a stack on
one device (virtual). One of many runs has several devices only where it does not fit on one.
"""

from __future__ import annotations

from bsscale.config import Config
from bsscale.errors import ConfigError
from bsscale.planning.devices import Devices
from bsscale.planning.memory import Counts, Memory, in_bytes, predict
from bsscale.planning.world import World

__all__ = ["choose_executor"]


def choose_executor(
    config: Config, gpus: int, devices: Devices, counts: Counts | None = None
) -> tuple[str, str, str, int]:
    """Executor, reason, device type and number of processes.

    Parameters
    ----------
    config
        The run.
    gpus
        Its replicas.
    devices
        Of this machine.
    counts
        Of its model and data, for a prediction of its memory; None: it is taken to fit.
    """
    if not config.trainer.ours:
        return "script", "its command starts the processes", "script", 1
    wanted, device = config.executor.name, config.executor.device
    if device == "cuda" and devices.cuda == 0:
        raise ConfigError(
            "executor.device=cuda on a machine without a CUDA device",
            "give executor.device=cpu, or install a CUDA build of torch",
        )
    if device == "auto":
        device = "cuda" if devices.cuda else "cpu"
    if devices.world is not None and not (wanted == "virtual" and devices.world.size == 1):
        _check_world(config, gpus, device, devices, devices.world)
        source, size = devices.world.source, devices.world.size
        return "ddp", f"{source} has started {size} process{'es' * (size > 1)}", device, size
    # On a CPU any number of processes can be started; on CUDA, one for each device.
    count = devices.cuda if device == "cuda" else gpus
    if wanted == "ddp":
        processes = min(count, gpus)
        if gpus % processes:
            fitting = ", ".join(str(n) for n in range(1, gpus + 1) if gpus % n == 0 and n <= count)
            raise ConfigError(
                f"gpus={gpus} replicas do not divide among {processes} CUDA devices",
                f"make that many devices visible (CUDA_VISIBLE_DEVICES): {fitting}",
            )
        return "ddp", "asked for", device, processes
    if wanted == "virtual":
        return "virtual", "asked for", device, 1
    if device == "cpu":
        return "virtual", "auto: no GPU", device, 1
    processes = max(n for n in range(1, min(count, gpus) + 1) if gpus % n == 0)
    if devices.shared and count > 1:
        shared = f"auto: the runs share {count} CUDA devices"
        if processes == 1 or counts is None:
            return "virtual", shared, device, 1
        alone, spread = (
            predict(config, counts, gpus, name, device, n, devices.cuda_memory_bytes)
            for name, n in (("virtual", 1), ("ddp", processes))
        )
        if alone.fits or spread.of_stack() >= alone.of_stack():
            return "virtual", shared, device, 1
        return "ddp", f"auto: {_does_not_fit(alone)}", device, processes
    if processes > 1:
        return "ddp", f"auto: {count} CUDA devices", device, processes
    return "virtual", "auto: one CUDA device", device, 1


def _does_not_fit(alone: Memory) -> str:
    assert alone.available_bytes is not None  # (else it fits)
    return (
        f"a run takes about {in_bytes(alone.of_stack())}, and a CUDA device has "
        f"{in_bytes(alone.available_bytes)}"
    )


def _check_world(config: Config, gpus: int, device: str, devices: Devices, world: World) -> None:
    """Whether the processes that were started are those of the run that is configured."""
    started = f"{world.source} has started {world.size} processes"
    if config.executor.name == "virtual":
        raise ConfigError(
            f"executor=virtual trains in one process, but {started}",
            "leave executor=virtual out, or start bsscale once: python -m bsscale",
        )
    if gpus % world.size:
        fitting = ", ".join(str(n) for n in range(1, gpus + 1) if gpus % n == 0)
        raise ConfigError(
            f"gpus={gpus} replicas do not divide among the processes: {started}",
            f"leave gpus out (it is {world.size} then), give a multiple of {world.size}, or start "
            f"{fitting} processes",
        )
    # A process of srun --gpus-per-task=1 sees one device, its own. torchrun hides none.
    fewest = 0 if world.source == "torchrun" else 1
    if device == "cuda" and fewest < devices.cuda < world.local_size:
        raise ConfigError(
            f"{world.local_size} processes on a host with {devices.cuda} CUDA devices",
            f"start {devices.cuda} on this host, or give executor.device=cpu",
        )
