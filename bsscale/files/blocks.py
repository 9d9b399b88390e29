"""Arrays that are made and written in pieces, so that they need not fit in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bsscale.files.block_sums import BLOCK_BYTES, DIGEST_BYTES, BlockHashes
from bsscale.files.checked import DIGESTS, header_digest, unfinished
from bsscale.files.replace import start_file

__all__ = ["Blocks", "write_blocks"]

# Rows of a piece: a megabyte or a few of them.
ROWS = 1 << 16
# NumPy's types in a file of blocks -> their names in safetensors.
_NAMES = {np.dtype(np.int32): "I32", np.dtype(np.float32): "F32"}


@dataclass(frozen=True)
class Blocks:
    """An array in pieces.

    Attributes
    ----------
    dtype, shape
        Of the whole.
    pieces
        Gives its rows in order: arrays that follow each other along the first axis.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    pieces: Callable[[], Iterator[npt.NDArray[Any]]]

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> Blocks:
        """An array that is there already."""
        starts = range(0, len(array), ROWS)
        return cls(
            array.dtype, array.shape, lambda: (array[start : start + ROWS] for start in starts)
        )

    def array(self) -> npt.NDArray[Any]:
        """The whole, in memory."""
        whole, at = np.empty(self.shape, self.dtype), 0
        for piece in self.pieces():
            whole[at : at + len(piece)] = piece
            at += len(piece)
        return whole

    def bytes(self) -> Iterator[memoryview]:
        """The bytes of the pieces, in C order."""
        for piece in self.pieces():
            yield np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data


def write_blocks(path: Path, arrays: Mapping[str, Blocks], text: str) -> None:
    """Replace `path` as `write_checked` does, one piece of an array after the other.

    Parameters
    ----------
    path
        Where to write; its directory must exist. `map_checked` reads it.
    arrays
        Of type int32 or float32. A checksum is kept of each block of their bytes, so that a reader
        need not read all of them at once.
    text
        What belongs to them, usually JSON.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind.
    """
    temporary = unfinished(path)
    try:
        mode = start_file(temporary)
        with temporary.open("wb") as file:
            header = _header(arrays, text, "0" * 64)
            file.write(header)
            digests = _write(file, arrays)
            file.write(digests)
            checksum = header_digest(text, arrays, digests)
            file.seek(0)
            file.write(_header(arrays, text, checksum))  # (of the same length)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write(file: IO[bytes], arrays: Mapping[str, Blocks]) -> bytes:
    """Write the arrays by name; gives the digests of their blocks."""
    hashes = BlockHashes()
    for name in sorted(arrays):
        for part in arrays[name].bytes():
            hashes.add(part)
            file.write(part)
    return hashes.digests()


def _header(arrays: Mapping[str, Blocks], text: str, checksum: str) -> bytes:
    """The header of a safetensors file, with spaces at its end so that arrays are aligned."""
    metadata = {"text": text, "sha256": checksum, "block_bytes": str(BLOCK_BYTES)}
    described: dict[str, Any] = {"__metadata__": metadata}
    start = 0
    for name in sorted(arrays):
        blocks = arrays[name]
        end = start + int(np.prod(blocks.shape, dtype=np.int64)) * blocks.dtype.itemsize
        described[name] = {
            "dtype": _NAMES[blocks.dtype],
            "shape": list(blocks.shape),
            "data_offsets": [start, end],
        }
        start = end
    blocks_of_all = -(-start // BLOCK_BYTES)
    described[DIGESTS] = {
        "dtype": "U8",
        "shape": [blocks_of_all, DIGEST_BYTES],
        "data_offsets": [start, start + blocks_of_all * DIGEST_BYTES],
    }
    content = json.dumps(described).encode()
    content += b" " * (-len(content) % 8)
    return len(content).to_bytes(8, "little") + content
