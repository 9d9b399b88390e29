"""A data set that many processes of this machine read from the same memory."""

from __future__ import annotations

import logging
import mmap
import os
import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from bsscale.data import Dataset
from bsscale.files.mapped import places_in_file

__all__ = ["SharedDataset", "open_shared", "share"]

log = logging.getLogger(__name__)

# Arrays begin at multiples of it, as torch's own do.
_ALIGNMENT = 64


@dataclass(frozen=True)
class SharedDataset:
    """A data set whose arrays lie in a file.

    Attributes
    ----------
    pickled
        The data set without its arrays.
    places
        Where each array begins in the file, and its bytes.
    file
        The file: that of the cache, if the arrays are its pages. Else one without a name, so that
        it is gone when its last process is, however it ends.
    """

    pickled: bytes
    places: tuple[tuple[int, int], ...]
    file: IO[bytes]


def share(dataset: Dataset) -> SharedDataset | None:
    """Put a data set where other processes can map it.

    All of it is checked before: the other processes do not check what they read. None for one that
    cannot be sent, or where the temporary directory has no room for it: each process then loads it
    itself.

    Raises
    ------
    DataError
        It has changed since it was prepared.
    """
    dataset.verify()
    buffers: list[pickle.PickleBuffer] = []
    try:
        pickled = pickle.dumps(dataset, protocol=5, buffer_callback=buffers.append)
    except Exception:  # (whatever a user's own stream raises)
        return None
    raw = [buffer.raw() for buffer in buffers]
    try:
        places, file = places_in_file(raw) or _written(raw)
        return SharedDataset(pickled, tuple(places), file)
    except OSError as error:
        log.warning(
            "warning: the data cannot be shared in %s, and each worker loads them: %s",
            tempfile.gettempdir(),
            error,
        )
        return None


def _written(buffers: Sequence[memoryview]) -> tuple[list[tuple[int, int]], IO[bytes]]:
    """Places of buffers in a new file, and the file."""
    file = tempfile.TemporaryFile(prefix="bsscale-data-")  # noqa: SIM115 (it outlives this call)
    try:
        places = []
        for buffer in buffers:
            file.write(bytes(-file.tell() % _ALIGNMENT))
            places.append((file.tell(), buffer.nbytes))
            file.write(buffer)
        file.flush()
    except OSError:
        file.close()
        raise
    return places, file


def open_shared(pickled: bytes, places: tuple[tuple[int, int], ...], descriptor: int) -> Dataset:
    """The data set; its arrays are pages of the file, and private copies where they are written.

    Parameters
    ----------
    pickled, places
        Of a `SharedDataset`.
    descriptor
        Its file, which is closed.
    """
    try:
        size = os.fstat(descriptor).st_size
        mapped = memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY) if size else b"")
    finally:
        os.close(descriptor)
    # (arrays without elements have no place in a file)
    buffers = [mapped[a : a + n] if n else bytearray() for a, n in places]
    dataset = pickle.loads(pickled, buffers=buffers)
    assert isinstance(dataset, Dataset)
    return dataset
