"""Arrays in a file that is whole or not there, and of which every byte is checked when it is read.

A safetensors file: numbers and JSON text, nothing that could be executed. Its metadata carry a
SHA-256 of all that it holds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bsscale.files.replace import start_file

__all__ = ["Arrays", "DamagedError", "read_checked", "write_checked"]

Arrays = dict[str, npt.NDArray[Any]]


class DamagedError(Exception):
    """A file is not what was written under its name; the message says why."""


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
    temporary = path.with_name(f".{path.name}.part")
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


def read_checked(path: Path) -> tuple[Arrays, str]:
    """The arrays and the text of a file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    DamagedError
        There is something, but not what `write_checked` wrote.
    """
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _checksum(arrays, metadata["text"]) != metadata["sha256"]:
            raise ValueError("its checksum does not fit its content")
    except FileNotFoundError:
        raise
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise DamagedError(f"{type(error).__name__}: {error}") from error
    return arrays, metadata["text"]


def _checksum(arrays: Mapping[str, npt.NDArray[Any]], text: str) -> str:
    """SHA-256 of all arrays with their names and forms, and of the text."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
