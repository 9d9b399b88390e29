"""Reads delimited text as columns of text: every field unchanged, or a clear error."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bsscale.data.table.first_row import NAMES, check_first_row, first_row
from bsscale.data.table.row_blocks import row_blocks
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["TextFile"]

_CHUNK = 1 << 24
# Bytes that fit in a cache.
_CACHED = 1 << 18


class TextFile:
    """The rows of one text file, read block by block.

    Fields follow RFC 4180: quotes enclose a whole field, and a quote inside it is doubled. Blank
    lines are left out.

    Parameters
    ----------
    path
        The file, for messages.
    separator
        One ASCII character.
    names
        The names of the columns; None: the first row has them.

    Attributes
    ----------
    columns
        The names of the columns, once the first block is read.
    """

    def __init__(self, path: Path, separator: str, names: tuple[str, ...] | None) -> None:
        self._path, self._separator, self._names = path, separator, names
        self.columns: tuple[str, ...] = ()
        # Of the blocks before: line ends, rows with blank ones, blank rows between others.
        self._lines, self._rows, self._blank, self._blank_at_end = 0, 0, 0, 0
        self._is_read = False

    def frames(self, chunks: Iterable[bytes]) -> Iterator[pl.DataFrame]:
        """The rows, each column of type String; blocks without a row are left out.

        Parameters
        ----------
        chunks
            The content of the file.

        Raises
        ------
        DataError
            If it is not UTF-8 or not in lines, a quote is misplaced, a row has more or fewer
            fields than there are columns, or two columns have the same name.
        """
        for number, block in enumerate(row_blocks(chunks)):
            frame = self._frame(block, number == 0)
            if frame is not None:
                self._is_read = True
                yield frame
        if not self.columns:
            raise self._empty("", "give a file with a header and rows")
        if not self._is_read:
            raise self._empty(" below its header", "give a file with rows")

    def notes(self) -> list[str]:
        """Sentences on the reading, once all is read."""
        notes = []
        if self._blank:
            notes.append(f"{self._blank:,} blank lines are left out.")
        if self._lines != self._rows:
            notes.append("Some fields have line breaks within quotes, which are kept.")
        return notes

    def _empty(self, where: str, remedy: str) -> DataError:
        return DataError(f"{self._path} is empty: it has no rows{where}", remedy)

    def _frame(self, block: bytes, is_first: bool) -> pl.DataFrame | None:
        content = _checked_encoding(block, self._path, self._lines, is_first)
        if self.columns and (plain := self._plain(content)) is not None:
            return plain
        masked = _without_quoted(content, self._path, self._separator, self._lines)
        fields = _fields_per_row(masked, self._separator)
        breaks, lines = masked.count(b"\n"), content.count(b"\n")
        filled = np.flatnonzero(fields)
        if not len(filled):
            self._blank_at_end += len(fields)
            self._lines, self._rows = self._lines + lines, self._rows + breaks
            return None
        start = 0
        has_header = not self.columns and self._names is None
        if not self.columns:
            first, start = first_row(content, self._path, self._separator)
            check_first_row(first, self._path, self._separator, self._names, fields[filled])
            self.columns = self._names or first
        by_line = self._lines + lines == self._rows + breaks
        _check_rows(
            fields,
            len(self.columns),
            self._path,
            self._separator,
            "line" if by_line else "row",
            self._lines if by_line else self._rows,
        )
        self._lines, self._rows = self._lines + lines, self._rows + breaks
        rows = filled[1 if has_header else 0 :]
        at_end = len(fields) - int(filled[-1]) - 1
        if not len(rows):
            self._blank_at_end = at_end
            return None
        expected = int(rows[-1] - rows[0]) + 1
        frame = self._parsed(content[start:] if has_header else content, expected)
        if blank := expected - len(rows):
            frame = frame[(rows - rows[0]).tolist()]
        if self._is_read:
            blank += self._blank_at_end + int(rows[0])
        self._blank, self._blank_at_end = self._blank + blank, at_end
        return frame

    def _plain(self, content: bytes) -> pl.DataFrame | None:
        """The rows of a block without quotes, CR and blank lines; None if it may be another one.

        Polars refuses a row with too many fields. So if there are as many separators as rows need,
        no row has too few.
        """
        import polars as pl

        if len(self.columns) < 2 or b'"' in content or b"\r" in content:
            return None
        lines = _count(content, "\n")
        rows = lines + (not content.endswith(b"\n"))
        if _count(content, self._separator) != rows * (len(self.columns) - 1):
            return None
        try:
            frame = self._read(content)
        except pl.exceptions.PolarsError:
            return None
        if len(frame) != rows:
            return None
        self._lines, self._rows = self._lines + lines, self._rows + lines
        self._blank += self._blank_at_end if self._is_read else 0
        self._blank_at_end = 0
        return frame

    def _read(self, content: bytes) -> pl.DataFrame:
        import polars as pl

        return pl.read_csv(
            content,
            has_header=False,
            separator=self._separator,
            schema=dict.fromkeys(self.columns, pl.String),
        )

    def _parsed(self, body: bytes, expected: int) -> pl.DataFrame:
        """The rows of a block, and blank ones between them."""
        import polars as pl

        try:
            frame = self._read(body.strip(b"\r\n") + b"\n")
        except pl.exceptions.PolarsError as error:
            reason = str(error).strip().splitlines()[0]
            raise DataError(
                f"cannot read {self._path}: {reason}", "check its rows and quotes"
            ) from error
        if len(frame) != expected:
            raise DataError(
                f"cannot read {self._path} without guessing: {expected:,} rows were counted, "
                f"{len(frame):,} read",
                "put quotes around every field that has quotes, separators or line breaks",
            )
        return frame


def _count(content: bytes, character: str) -> int:
    """How often an ASCII character occurs; faster than `bytes.count` for a frequent one."""
    array = np.frombuffer(content, np.uint8)
    parts = (array[at : at + _CACHED] for at in range(0, len(array), _CACHED))
    return sum(int(np.count_nonzero(part == ord(character))) for part in parts)


def _checked_encoding(content: bytes, path: Path, lines: int, is_first: bool) -> bytes:
    """A block without a byte order mark; raises DataError unless it is UTF-8 in lines.

    `lines` is the number of lines before the block.
    """
    start = content[:4096]
    if is_first and (
        start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or start.count(0) > 1
    ):
        raise DataError(
            f"{path} is not UTF-8 text: it looks like UTF-16 or a binary file",
            f"save it as UTF-8, for instance: iconv -f UTF-16 -t UTF-8 {path.name} > utf8.csv",
        )
    if is_first:
        content = content.removeprefix(codecs.BOM_UTF8)
    decoder = codecs.getincrementaldecoder("utf-8")()
    for at in range(0, 0 if content.isascii() else len(content), _CHUNK):
        part = content[at : at + _CHUNK]
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(part, final=at + _CHUNK >= len(content))
        except UnicodeDecodeError as error:
            offset = at - pending + error.start
            raise DataError(
                f"{path} is not UTF-8: byte 0x{content[offset]:02x} "
                f"in line {_line(content, offset, lines)}",
                f"save it as UTF-8, for instance: iconv -f LATIN1 -t UTF-8 {path.name} > utf8.csv",
            ) from error
    if (null := content.find(0)) >= 0:
        raise DataError(
            f"{path} has a NUL byte in line {_line(content, null, lines)}",
            "give a text file, or remove the byte",
        )
    if is_first and b"\r" in content and b"\n" not in content:
        raise DataError(
            f"{path} has the line ends of old Macs, CR alone, so it is one line",
            f"save it with LF or CRLF, for instance: tr '\\r' '\\n' < {path.name} > lines.csv",
        )
    return content


def _without_quoted(content: bytes, path: Path, separator: str, lines: int) -> bytes:
    """A block with every quoted field replaced by a letter, to count rows and separators."""
    masked = content
    if b'"' in content:
        between = re.escape(separator).encode()
        quoted = re.compile(
            rb'(?<![^%b\r\n])"[^"]*+(?:""[^"]*+)*+"(?=%b|\r?\n|\Z)' % (between, between)
        )
        masked = quoted.sub(b"Q", content)
        if b'"' in masked:
            offset = _stray(content, quoted)
            raise DataError(
                f"{path} has a quote out of place in line {_line(content, offset, lines)}: "
                f"{_excerpt(content, offset)}",
                'put the whole field in quotes and double the quotes within: "5"" screen"',
            )
    masked = masked.replace(b"\r\n", b"\n")
    if (lone := masked.find(b"\r")) >= 0:
        raise DataError(
            f"{path} has a carriage return within row {_line(masked, lone, lines)}",
            "end every line in the same way, LF or CRLF",
        )
    return masked


def _stray(content: bytes, quoted: re.Pattern[bytes]) -> int:
    """The offset of the first quote outside of quoted fields."""
    position = 0
    for match in quoted.finditer(content):
        if (stray := content.find(b'"', position, match.start())) >= 0:
            return stray
        position = match.end()
    return content.find(b'"', position)


def _fields_per_row(masked: bytes, separator: str) -> npt.NDArray[np.int64]:
    """The number of fields of each row, int64, shape (rows,); 0 for a blank line."""
    counts, start = [], 0
    while start < len(masked):
        end = masked.find(b"\n", start + _CHUNK) + 1 or len(masked)
        part = np.frombuffer(masked, np.uint8, end - start, start)
        ends = np.flatnonzero(part == ord("\n"))
        if part[-1] != ord("\n"):
            ends = np.append(ends, len(part))
        edges = np.searchsorted(np.flatnonzero(part == ord(separator)), ends)
        fields = np.diff(edges, prepend=0) + 1
        counts.append(np.where(np.diff(ends, prepend=-1) == 1, 0, fields))
        start = end
    return np.concatenate(counts).astype(np.int64) if counts else np.zeros(0, np.int64)


def _check_rows(
    fields: npt.NDArray[np.int64], width: int, path: Path, separator: str, unit: str, before: int
) -> None:
    """Raise DataError for rows with more or fewer fields than there are columns.

    `before` is the number of lines or rows, as `unit` says, before the block.
    """
    ragged = np.flatnonzero((fields != width) & (fields > 0))
    if len(ragged):
        at = int(ragged[0])
        more = f", and {len(ragged) - 1:,} more rows do not fit" if len(ragged) > 1 else ""
        raise DataError(
            f"{unit} {before + at + 1:,} of {path} has {fields[at]} fields, but there are {width} "
            f"columns{more}",
            f"give every row {width} fields, with quotes around one that has "
            f"{NAMES.get(separator, repr(separator))} in it",
        )


def _line(content: bytes, offset: int, lines: int) -> str:
    """The number of a line, where `lines` lines come before `content`."""
    return format(lines + content.count(b"\n", 0, offset) + 1, ",")


def _excerpt(content: bytes, offset: int) -> str:
    """Some characters around `offset`, in its line."""
    start = max(content.rfind(b"\n", 0, offset) + 1, offset - 30)
    end = content.find(b"\n", offset)
    stop = min(len(content) if end < 0 else end, offset + 30)
    return repr(content[start:stop].decode("utf-8", "replace"))
