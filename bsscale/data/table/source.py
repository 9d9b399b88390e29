"""The file of a table: its format, and its content as columns."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bsscale.data.table.text import read_text
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Source", "open_source"]

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_COMPRESSED = (".gz", ".zst")
_PARQUET = (".parquet", ".pq")
_SUFFIXES = ", ".join((*_SEPARATORS, *(f".csv{s}" for s in _COMPRESSED), *_PARQUET))


@dataclass(frozen=True)
class Source:
    """A file and how it is read.

    Attributes
    ----------
    path
        The file; its name is never used as a pattern.
    format
        Its suffixes in lower case, such as ".csv.gz".
    separator
        The separator of the fields of a text file; None for Parquet.
    names
        The columns of a text file without a header; None if the first row has their names.
    """

    path: Path
    format: str
    separator: str | None
    names: tuple[str, ...] | None

    @property
    def is_text(self) -> bool:
        """Whether all values are read as text, and converted by the roles of the columns."""
        return self.separator is not None

    def read(self) -> tuple[pl.DataFrame, list[str]]:
        """All columns, those of a text file as text, and notes on the reading.

        Raises
        ------
        DataError
            If it cannot be read without guessing.
        """
        notes: list[str] = []
        if self.separator is None:
            frame = _read_parquet(self.path)
        else:
            frame, notes = read_text(self._content(), self.path, self.separator, self.names)
        if frame.is_empty():
            raise DataError(f"{self.path} is empty: it has no rows", "give a file with rows")
        for name in frame.columns:
            # Polars interprets such a name as a pattern.
            if name == "*" or (name.startswith("^") and name.endswith("$")):
                raise DataError(
                    f"{self.path} has a column called {name!r}, which would be read as a pattern",
                    "give the column another name",
                )
        return frame, notes

    def _content(self) -> bytes:
        """The bytes of a text file, decompressed."""
        try:
            content = self.path.read_bytes()
            if self.format.endswith(".gz"):
                return gzip.decompress(content)
            return _unzstd(content) if self.format.endswith(".zst") else content
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"cannot read {self.path}: {error}", "check that the file is whole and readable"
            ) from error


def open_source(
    path: str, separator: str | None, header: bool, columns: Sequence[str] | None
) -> Source:
    """The file at `path`, which must exist, with the options for reading it.

    Raises
    ------
    DataError
        If there is no such file, its suffix is unknown, or the options do not fit it.
    """
    source = _checked_path(path)
    suffixes = [suffix.lower() for suffix in source.suffixes[-2:]]
    packed = suffixes.pop() if suffixes and suffixes[-1] in _COMPRESSED else ""
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in _SEPARATORS and (packed or suffix not in _PARQUET):
        ending = source.suffix if suffix else "no suffix"
        raise DataError(f"{source} ends in {ending!r}", f"give a file that ends in {_SUFFIXES}")
    if suffix in _PARQUET:
        if separator is not None or not header or columns is not None:
            raise DataError(
                f"{source} is Parquet, which names its columns itself",
                "leave out dataset.separator, dataset.header and dataset.columns",
            )
        return Source(source, suffix, None, None)
    if not isinstance(header, bool):
        raise DataError(
            f"header is {header!r}", "write dataset.header=true or dataset.header=false"
        )
    if header and columns is not None:
        raise DataError(
            f"columns names {len(columns)} columns, but the first row is the header",
            "add dataset.header=false if the first row is data, or leave dataset.columns out",
        )
    if not header and columns is None:
        raise DataError(
            "header=false, but nothing names the columns",
            "name all of them in order: dataset.columns=[clicked,price,site]",
        )
    names = None if header else tuple(columns or ())
    return Source(source, suffix + packed, _checked_separator(separator, suffix), names)


def _checked_separator(separator: str | None, suffix: str) -> str:
    if separator is None:
        return _SEPARATORS[suffix]
    character = {"tab": "\t", "\\t": "\t"}.get(str(separator), str(separator))
    if len(character) != 1 or not character.isascii():
        raise DataError(f"separator is {separator!r}", "give one ASCII character, or tab")
    if character.isalnum() or character in '"\r\n\0':
        raise DataError(
            f"separator is {separator!r}", 'give a character such as ";" or "|", or tab'
        )
    return character


def _checked_path(path: str) -> Path:
    """The path of the file; raises DataError if it does not exist or is empty."""
    try:
        source = Path(path).expanduser()
        if not source.exists():
            raise DataError(
                f"there is no file {source}",
                f"paths are relative to the current directory, {Path.cwd()}",
            )
        if not source.is_file():
            raise DataError(f"{source} is not a file", "give one file")
        if source.stat().st_size == 0:
            raise DataError(f"{source} is empty", "give a file with a header and rows")
    # (A path with a NUL, too long, of an unknown user, or without permission.)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"path is {path!r}: {error}", "give the path of one file") from error
    return source


def _read_parquet(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        # Do not interpret the name of the file or of its folder as a pattern or a partition.
        return pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DataError(
            f"cannot read {path}: {reason}", "check that it is a whole Parquet file"
        ) from error


def _unzstd(content: bytes) -> bytes:
    r"""The decompressed content of Zstandard data; Python before 3.14 has no module for it.

    Polars decompresses text while it reads it; here each line is one field. Line ends become \n.
    """
    import polars as pl

    try:
        lines = pl.read_csv(
            content,
            has_header=False,
            separator="\0",
            quote_char=None,
            schema={"line": pl.String},
        )
    except pl.exceptions.NoDataError:
        return b""
    except pl.exceptions.PolarsError as error:
        raise OSError(
            f"it does not decompress to UTF-8 text: {str(error).strip().splitlines()[0]}"
        ) from error
    return ("\n".join(lines["line"].fill_null("")) + "\n").encode()
