"""The bytes of a text file, decompressed, some at a time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from bsscale.errors import DataError

__all__ = ["chunks_of"]

# Bytes of a chunk. A smaller file is read as a whole.
BYTES = 1 << 26
# Lines of a chunk of Zstandard.
_LINES = 1 << 18


def chunks_of(path: Path, suffixes: str) -> Iterator[bytes]:
    """The content of a text file.

    Parameters
    ----------
    path
        The file.
    suffixes
        Its suffixes in lower case, such as ".csv.gz".

    Raises
    ------
    DataError
        If it cannot be read or decompressed.
    """
    try:
        yield from _zstd(path) if suffixes.endswith(".zst") else _bytes(path, suffixes)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"cannot read {path}: {error}", "check that the file is whole and readable"
        ) from error


def _bytes(path: Path, suffixes: str) -> Iterator[bytes]:
    with gzip.open(path) if suffixes.endswith(".gz") else path.open("rb") as file:
        while chunk := file.read(BYTES):
            yield chunk


def _zstd(path: Path) -> Iterator[bytes]:
    r"""Zstandard; Python before 3.14 has no module for it.

    Polars decompresses text while it reads it; here each line is one field. Line ends become \n.
    """
    import polars as pl

    try:
        lines = pl.scan_csv(
            path,
            glob=False,
            has_header=False,
            separator="\0",
            quote_char=None,
            schema={"line": pl.String},
        )
        for batch in lines.collect_batches(chunk_size=_LINES):
            text: str = batch["line"].fill_null("").str.join("\n").item()
            yield (text + "\n").encode()
    except pl.exceptions.NoDataError:
        return
    except pl.exceptions.PolarsError as error:
        raise OSError(
            f"it does not decompress to UTF-8 text: {str(error).strip().splitlines()[0]}"
        ) from error
