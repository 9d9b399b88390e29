"""The choice of the executor: one process, or many."""

from __future__ import annotations

from bsscale.config import Config
from bsscale.errors import ConfigError
from bsscale.planning.devices import Devices
from bsscale.planning.world import World

__all__ = ["choose_executor"]


def choose_executor(config: Config, gpus: int, devices: Devices) -> tuple[str, str, str, int]:
    """Executor, reason, device type and number of processes."""
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
    if device == "cuda" and devices.cuda > 1 and devices.shared:
        return "virtual", f"auto: the runs share {devices.cuda} CUDA devices", device, 1
    if gpus > 1 and device == "cuda" and count > 1:
        processes = max(n for n in range(1, min(count, gpus) + 1) if gpus % n == 0)
        if processes > 1:
            return "ddp", f"auto: {count} CUDA devices", device, processes
    return "virtual", f"auto: {'one CUDA device' if device == 'cuda' else 'no GPU'}", device, 1


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
    if device == "cuda" and world.local_size > devices.cuda:
        raise ConfigError(
            f"{world.local_size} processes on a host with {devices.cuda} CUDA devices",
            f"start {devices.cuda} on this host, or give executor.device=cpu",
        )
