"""Arrays in a file that is whole or not there, and of which every byte is checked when it is read.

A safetensors file: numbers and JSON text, nothing that could be executed. Its metadata carry a
SHA-256 of all that it holds, or of all but the arrays, whose blocks then have checksums of their
own (`write_blocks`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bsscale.files.block_sums import BLOCK_BYTES, BlockSums, DamagedError
from bsscale.files.mapped import MappedFile
from bsscale.files.replace import start_file

__all__ = [
    "DIGESTS", "Arrays", "DamagedError", "describe_array", "header_digest", "map_checked",
    "read_checked", "unfinished", "write_checked",
]  # fmt: skip

Arrays = dict[str, npt.NDArray[Any]]

# Bytes that are read together for a checksum.
_PIECE = 1 << 26
# Files of blocks up to this size are checked as a whole when they are mapped: in a tenth of a
# second, before anything depends on them.
SMALL_BYTES = 1 << 27
# The array with the checksums of blocks, the last one of its file.
DIGESTS = "block_sha256"

# NumPy's names of the types in a file: those that `write_checked` may have written.
_TYPES = {
    **{"F64": "f8", "F32": "f4", "F16": "f2", "BOOL": "?"},
    **{f"{kind}{8 * size}": f"{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
}


class Shaped(Protocol):
    """What has the form of an array."""

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...


def write_checked(path: Path, arrays: Mapping[str, npt.NDArray[Any]], text: str) -> None:
    """Replace `path`: at every moment it is absent, the old file or the new one.

    Parameters
    ----------
    path
        Where to write; its directory must exist.
    arrays
        Of any shape and any of NumPy's number types.
    text
        What belongs to them, usually JSON.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind.
    """
    import safetensors
    import safetensors.numpy

    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    metadata = {"text": text, "sha256": _checksum(contiguous, text)}
    # The temporary name is fixed because there is one writer at a time; so a leftover of a killed
    # writer is overwritten.
    temporary = unfinished(path)
    try:
        mode = start_file(temporary)
        safetensors.numpy.save_file(contiguous, temporary, metadata)
        temporary.chmod(mode)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, safetensors.SafetensorError):  # (a full disk, among others)
            raise OSError(str(error)) from error
        raise


def unfinished(path: Path) -> Path:
    """The file that becomes `path` when it is whole."""
    return path.with_name(f".{path.name}.part")


def read_checked(path: Path) -> tuple[Arrays, str]:
    """The arrays and the text of a file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    DamagedError
        There is something, but not what `write_checked` wrote.
    """
    arrays, text = map_checked(path)
    return {name: array.copy() for name, array in arrays.items()}, text


def map_checked(path: Path) -> tuple[Arrays, str]:
    """As `read_checked`, with arrays that are pages of the file (`MappedFile`).

    The file is open as long as they are. They were checked when it was mapped, or, in a large file
    of blocks, are checked by `check_pages`, to be called for what is read for the first time. The
    file must be replaced only, as `write_checked` does, and never be changed.
    """
    import safetensors

    try:
        mapped = MappedFile(path)
        with safetensors.safe_open(path, framework="numpy") as header:
            metadata = header.metadata() or {}
            parts = [(name, header.get_slice(name)) for name in header.offset_keys()]
        # (safetensors has made sure that they are all that follows the header, without a gap)
        first = start = 8 + int.from_bytes(mapped[:8], "little")
        arrays = Arrays()
        for name, part in parts:
            dtype = np.dtype(_TYPES[part.get_dtype()]).newbyteorder("<")
            arrays[name] = mapped.array(start, dtype, tuple(part.get_shape()))
            start += arrays[name].nbytes
        if "block_bytes" in metadata:
            expected = _keep_block_sums(mapped, first, arrays, metadata)
        else:
            expected = _checksum(arrays, metadata["text"], mapped)
        if expected != metadata["sha256"]:
            raise ValueError("its checksum does not fit its content")
        if mapped.sums is not None and len(mapped) <= SMALL_BYTES:
            mapped.check_all()
    except FileNotFoundError:
        raise
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise DamagedError(f"{type(error).__name__}: {error}") from error
    return arrays, metadata["text"]


def _keep_block_sums(
    mapped: MappedFile, first: int, arrays: Arrays, metadata: Mapping[str, str]
) -> str:
    """Give a mapped file the checksums of its blocks; returns the digest of its header.

    Parameters
    ----------
    mapped
        The file.
    first
        The first byte of its first array.
    arrays
        Its arrays; that of the checksums is taken out.
    metadata
        Of its header.

    Raises
    ------
    KeyError, ValueError
        The checksums are not those of the arrays.
    """
    digests = arrays.pop(DIGESTS)
    size = sum(array.nbytes for array in arrays.values())
    if int(metadata["block_bytes"]) != BLOCK_BYTES or len(digests) != -(-size // BLOCK_BYTES):
        raise ValueError("it has other blocks")
    # (a copy: an array of the file would keep the file alive in a circle)
    mapped.sums, mapped.first = BlockSums(size, digests.copy()), first
    return header_digest(metadata["text"], arrays, digests.tobytes())


def header_digest(text: str, arrays: Mapping[str, Shaped], digests: bytes) -> str:
    """SHA-256 of the text, of the names and forms of the arrays, and of the digests of blocks."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(describe_array(name, arrays[name]))
    digest.update(digests)
    return digest.hexdigest()


def describe_array(name: str, array: Shaped) -> bytes:
    """The name and the form of an array, as a checksum covers them."""
    return f"{name} {array.dtype} {array.shape}".encode()


def _checksum(
    arrays: Mapping[str, npt.NDArray[Any]], text: str, mapped: MappedFile | None = None
) -> str:
    """SHA-256 of all arrays with their names and forms, and of the text.

    Pages of `mapped` are given back when they have been read, so that they do not fill the memory.
    """
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(describe_array(name, arrays[name]))
        content = arrays[name].reshape(-1).view(np.uint8)
        for start in range(0, len(content), _PIECE):
            digest.update(content[start : start + _PIECE].data)
            if mapped is not None:
                mapped.forget()
    return digest.hexdigest()
