"""The devices of a machine."""

from __future__ import annotations

from dataclasses import dataclass

from bsscale.planning.world import World

__all__ = ["Devices"]


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
        Whether many runs share them, so that executor=auto gives a run no more than one.
    """

    cuda: int
    world: World | None = None
    shared: bool = False

    @classmethod
    def here(cls, shared: bool = False) -> Devices:
        """Count the devices of this machine."""
        import torch

        cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return cls(cuda, World.here(), shared)
