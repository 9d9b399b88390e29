"""Arrays that are pages of a file: processes that map the same file share its memory."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

__all__ = ["MappedFile", "places_in_file"]


class MappedFile(mmap.mmap):
    """The pages of a file. A page becomes a private copy when it is written.

    Attributes
    ----------
    descriptor
        Of the file. It is open as long as there are pages, which remain those of this file when
        another one takes its name.
    """

    descriptor: int

    def __new__(cls, path: Path) -> MappedFile:
        with path.open("rb") as file:
            mapped = super().__new__(cls, file.fileno(), 0, access=mmap.ACCESS_COPY)
            mapped.descriptor = os.dup(file.fileno())
        weakref.finalize(mapped, os.close, mapped.descriptor)
        return mapped

    def array(self, start: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """The array that begins at byte `start`, without a copy."""
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(self, dtype, count, start if count else 0).reshape(shape)

    def forget(self) -> None:
        """Give back the memory of its pages, of which none may have been written."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.madvise(mmap.MADV_DONTNEED)


def places_in_file(
    buffers: Iterable[memoryview],
) -> tuple[list[tuple[int, int]], IO[bytes]] | None:
    """Where in one file some memory lies: first byte and number of bytes of each buffer.

    Returns
    -------
    The places and a new descriptor of the file; None if the buffers are not all pages of the same
    `MappedFile`. Buffers without bytes are at 0.
    """
    places, found = [], None
    for buffer in buffers:
        if not buffer.nbytes:
            places.append((0, 0))
            continue
        mapped = _mapped_file(buffer.obj)
        if mapped is None or (found is not None and mapped is not found):
            return None
        found = mapped
        places.append((_address(buffer) - _address(mapped), buffer.nbytes))
    return None if found is None else (places, os.fdopen(os.dup(found.descriptor), "rb"))


def _mapped_file(owner: Any) -> MappedFile | None:
    """The file of which an array is a part."""
    while True:
        if isinstance(owner, MappedFile):
            return owner
        if isinstance(owner, memoryview):
            owner = owner.obj
        elif isinstance(owner, np.ndarray):
            owner = owner.base
        else:
            return None


def _address(memory: Any) -> int:
    address: int = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    return address
