"""The devices of a machine."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from bsscale.planning.world import World

__all__ = ["Devices"]

# Where Linux keeps the control groups of containers and jobs, and says which are a process's own.
_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Devices:
    """The accelerators of this machine, and the processes that were started on it.

    Attributes
    ----------
    cuda
        Number of CUDA devices.
    world
        The processes of the run, where something else has started them.
    shared
        Whether many runs share them, so that executor=auto gives a run no more than one, unless it
        does not fit there.
    cuda_memory_bytes
        Of the smallest CUDA device, because every worker may train every run; None: not known.
    host_memory_bytes
        Of the machine, or what this process may take of it; None: not known.
    """

    cuda: int
    world: World | None = None
    shared: bool = False
    cuda_memory_bytes: int | None = None
    host_memory_bytes: int | None = None

    @classmethod
    def here(cls, shared: bool = False) -> Devices:
        """Count the devices of this machine."""
        import torch

        cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
        memories = [torch.cuda.get_device_properties(k).total_memory for k in range(cuda)]
        return cls(cuda, World.here(), shared, min(memories, default=None), _host_memory_bytes())

    def of_jobs(self) -> Devices:
        """The same devices for the runs that a study trains by jobs.

        They are planned twice: by the study, and by each job, which may be on another machine. Both
        plans have to be equal, so the memory of devices decides nothing.
        """
        return replace(self, shared=True, cuda_memory_bytes=None, host_memory_bytes=None)

    def memory_bytes(self, device: str) -> int | None:
        """The memory of a device, cpu or cuda; None: not known."""
        return self.cuda_memory_bytes if device == "cuda" else self.host_memory_bytes


def _host_memory_bytes() -> int:
    """The machine's memory, or less where a control group of this process has a limit."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for line in _lines(_OWN):
        _, controllers, group = line.split(":", 2)
        if not controllers:  # version 2
            root, limit = _GROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, limit = _GROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        own = Path(group.lstrip("/"))
        for each in (own, *own.parents):  # (in a container, the root is the group itself)
            found += [int(text) for text in _lines(root / each / limit) if text.isdigit()]
    return min(found)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
