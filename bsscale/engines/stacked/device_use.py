"""How the stacked engine uses each kind of device."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEVICE_USE", "DeviceUse"]


@dataclass(frozen=True)
class DeviceUse:
    """How the stacked engine uses a kind of device.

    Attributes
    ----------
    accelerator
        Whether the device computes while the host goes on. Then updates are launched as graphs,
        the host prepares the next samples meanwhile, and the device judges its own outputs.
    gathered_samples
        Samples of all runs that are gathered together.
    gathered_bytes
        Bytes that these may take.
    scored_rows
        Rows that are scored at once: of all runs on an accelerator, of each run on a CPU. There a
        product of another shape may round otherwise, so that there are as many at every width.
    """

    accelerator: bool
    gathered_samples: int
    gathered_bytes: int
    scored_rows: int


DEVICE_USE = {
    # As many samples as fit into a cache.
    "cpu": DeviceUse(False, 1 << 15, 1 << 62, 1 << 10),
    # A DLRM scores a row by a small matrix product. Of these, 63 x 1,024 at once are below the
    # 65,535 at which some versions of cuBLAS fail.
    "cuda": DeviceUse(True, 1 << 20, 1 << 28, 63 << 10),
}
