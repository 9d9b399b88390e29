"""Arrays that are pages of a file: processes that map the same file share its memory."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bsscale.files.block_sums import BLOCK_BYTES, BlockSums, DamagedError

__all__ = ["MappedFile", "check_pages", "mapped_file", "places_in_file"]

# Bytes that are checked before their memory is given back.
_PIECE = 1 << 26


class MappedFile(mmap.mmap):
    """The pages of a file. A page becomes a private copy when it is written.

    Attributes
    ----------
    descriptor
        Of the file. It is open as long as there are pages, which remain those of this file when
        another one takes its name.
    path
        Its name when it was mapped.
    sums
        Checksums of the blocks of its arrays, which begin at byte `first`; None: all of it was
        checked, or has no checksums.
    """

    descriptor: int
    path: Path
    sums: BlockSums | None
    first: int

    def __new__(cls, path: Path) -> MappedFile:
        with path.open("rb") as file:
            mapped = super().__new__(cls, file.fileno(), 0, access=mmap.ACCESS_COPY)
            mapped.descriptor = os.dup(file.fileno())
        mapped.path, mapped.sums, mapped.first = path, None, 0
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

    def check_size(self) -> None:
        """Raise DamagedError for a file that has become shorter: reading its end is a SIGBUS."""
        size = os.fstat(self.descriptor).st_size
        if size < len(self):
            raise DamagedError(f"it has {size:,} bytes and had {len(self):,}")

    def check_all(self) -> None:
        """Check all blocks, and give back the memory of their pages.

        Raises
        ------
        DamagedError
            One is not what was written.
        """
        self.check_size()
        if self.sums is None or self.sums.complete:
            return
        content = memoryview(self)[self.first : self.first + self.sums.size]
        read = 0
        for size in self.sums.check_between(content, 0, self.sums.size):
            read += size
            if read >= _PIECE:
                self.forget()
                read = 0
        self.forget()

    def remove(self) -> None:
        """Remove the file, unless another one has taken its name."""
        with suppress(OSError):
            if os.path.samestat(self.path.stat(), os.fstat(self.descriptor)):
                self.path.unlink()


def check_pages(array: npt.NDArray[Any], rows: npt.NDArray[np.intp] | None = None) -> None:
    """Check what is about to be read of an array, if it is pages of a file with checksums.

    Parameters
    ----------
    array
        Of any shape.
    rows
        Numbers along its first axis, shape (n,); None: all of it.

    Raises
    ------
    DamagedError
        A block of it is not what was written, or the file has become shorter.
    """
    if not array.size or (mapped := mapped_file(array)) is None:
        return
    mapped.check_size()
    sums = mapped.sums
    if sums is None or sums.complete:
        return
    content = memoryview(mapped)[mapped.first : mapped.first + sums.size]
    start = _address(array) - _address(mapped) - mapped.first
    extents = [(n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)]
    row_bytes = sum(extents[1:]) + array.itemsize
    if rows is None or row_bytes > BLOCK_BYTES:  # (`check` takes places of two blocks at most)
        for _ in sums.check_between(content, start, start + extents[0] + row_bytes):
            pass
    else:
        first = start + rows.astype(np.int64) * array.strides[0]
        sums.check(content, first, first + row_bytes - 1)


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
        mapped = mapped_file(buffer.obj)
        if mapped is None or (found is not None and mapped is not found):
            return None
        found = mapped
        places.append((_address(buffer) - _address(mapped), buffer.nbytes))
    return None if found is None else (places, os.fdopen(os.dup(found.descriptor), "rb"))


def mapped_file(owner: Any) -> MappedFile | None:
    """The file of which an array is a part; None for other memory."""
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
    if not isinstance(memory, np.ndarray):
        memory = np.frombuffer(memory, np.uint8)
    address: int = memory.__array_interface__["data"][0]
    return address
