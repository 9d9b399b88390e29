"""Reads delimited text as columns of text: every field unchanged, or a clear error."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bsscale.data.table.values import NUMBER
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["read_text"]

_CHUNK = 1 << 24
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def read_text(
    content: bytes, path: Path, separator: str, names: tuple[str, ...] | None
) -> tuple[pl.DataFrame, list[str]]:
    """The columns of a text file, each of type String, and notes.

    Fields follow RFC 4180: quotes enclose a whole field, and a quote inside it is doubled. Blank
    lines are left out.

    Parameters
    ----------
    content
        The file.
    path
        Its path, for messages.
    separator
        One ASCII character.
    names
        The names of the columns; None: the first row has them.

    Raises
    ------
    DataError
        If it is not UTF-8 or not in lines, a quote is misplaced, a row has more or fewer fields
        than there are columns, or two columns have the same name.
    """
    import polars as pl

    content = _checked_encoding(content, path)
    masked = _without_quoted(content, path, separator)
    fields = _fields_per_row(masked, separator)
    filled = fields > 0
    if not filled.any():
        raise DataError(f"{path} is empty: it has no rows", "give a file with a header and rows")
    first, start = _first_row(content, path, separator)
    lines = masked.count(b"\n") == content.count(b"\n")
    _check_first_row(first, path, separator, names, fields[filled])
    _check_rows(fields, len(names or first), path, separator, "line" if lines else "row")
    rows = np.flatnonzero(filled)[0 if names is not None else 1 :]
    if not len(rows):
        raise DataError(
            f"{path} is empty: it has no rows below its header", "give a file with rows"
        )
    body = content if names is not None else content[start:]
    try:
        frame = pl.read_csv(
            body.strip(b"\r\n") + b"\n",
            has_header=False,
            separator=separator,
            schema=dict.fromkeys(names or first, pl.String),
        )
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"cannot read {path}: {reason}", "check its rows and quotes") from error
    expected = int(rows[-1] - rows[0]) + 1
    if len(frame) != expected:
        raise DataError(
            f"cannot read {path} without guessing: {expected:,} rows were counted, "
            f"{len(frame):,} read",
            "put quotes around every field that has quotes, separators or line breaks",
        )
    notes = []
    if blank := expected - len(rows):
        frame = frame[(rows - rows[0]).tolist()]
        notes.append(f"{blank:,} blank lines are left out.")
    if not lines:
        notes.append("Some fields have line breaks within quotes, which are kept.")
    return frame, notes


def _checked_encoding(content: bytes, path: Path) -> bytes:
    """The content without a byte order mark; raises DataError unless it is UTF-8 in lines."""
    start = content[:4096]
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or start.count(0) > 1:
        raise DataError(
            f"{path} is not UTF-8 text: it looks like UTF-16 or a binary file",
            f"save it as UTF-8, for instance: iconv -f UTF-16 -t UTF-8 {path.name} > utf8.csv",
        )
    content = content.removeprefix(codecs.BOM_UTF8)
    decoder = codecs.getincrementaldecoder("utf-8")()
    for at in range(0, len(content), _CHUNK):
        part = content[at : at + _CHUNK]
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(part, final=at + _CHUNK >= len(content))
        except UnicodeDecodeError as error:
            offset = at - pending + error.start
            raise DataError(
                f"{path} is not UTF-8: byte 0x{content[offset]:02x} "
                f"in line {_line(content, offset)}",
                f"save it as UTF-8, for instance: iconv -f LATIN1 -t UTF-8 {path.name} > utf8.csv",
            ) from error
    if (null := content.find(0)) >= 0:
        raise DataError(
            f"{path} has a NUL byte in line {_line(content, null)}",
            "give a text file, or remove the byte",
        )
    if b"\r" in content and b"\n" not in content:
        raise DataError(
            f"{path} has the line ends of old Macs, CR alone, so it is one line",
            f"save it with LF or CRLF, for instance: tr '\\r' '\\n' < {path.name} > lines.csv",
        )
    return content


def _without_quoted(content: bytes, path: Path, separator: str) -> bytes:
    """The content with every quoted field replaced by a letter, to count rows and separators."""
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
                f"{path} has a quote out of place in line {_line(content, offset)}: "
                f"{_excerpt(content, offset)}",
                'put the whole field in quotes and double the quotes within: "5"" screen"',
            )
    masked = masked.replace(b"\r\n", b"\n")
    if (lone := masked.find(b"\r")) >= 0:
        raise DataError(
            f"{path} has a carriage return within row {_line(masked, lone)}",
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


def _first_row(content: bytes, path: Path, separator: str) -> tuple[tuple[str, ...], int]:
    """The first row that is not blank, and the offset of the next row."""
    read = 0

    def lines() -> Iterator[str]:
        nonlocal read
        while read < len(content):
            end = content.find(b"\n", read) + 1 or len(content)
            line, read = content[read:end], end
            yield line.decode()

    try:
        for row in csv.reader(lines(), delimiter=separator, strict=True):
            if row:
                return tuple(row), read
    except csv.Error as error:
        raise DataError(
            f"cannot read the first row of {path}: {error}",
            f"give a first row with fields of at most {csv.field_size_limit():,} characters",
        ) from error
    raise DataError(f"{path} is empty: it has no rows", "give a file with a header and rows")


def _check_first_row(
    first: tuple[str, ...],
    path: Path,
    separator: str,
    names: tuple[str, ...] | None,
    fields: npt.NDArray[np.int64],
) -> None:
    """Raise DataError if this cannot be the first row of such a table."""
    others = [s for s in _NAMES if s != separator and s in first[0]]
    if first[0].lower().startswith("sep=") and len(first) <= 2:
        raise DataError(
            f"the first line of {path} is {separator.join(first)!r}, a note for spreadsheets",
            "remove this line, and give the separator: dataset.separator=...",
        )
    if len(first) == 1 and others and (len(names or ()) != 1):
        other = max(others, key=first[0].count)
        raise DataError(
            f"the first row of {path} has no {_NAMES.get(separator, repr(separator))} but "
            f"{_NAMES[other]}: {first[0][:60]!r}",
            "give the separator: dataset.separator="
            + ("tab" if other == "\t" else f"'\"{other}\"'"),
        )
    if len(first) == 1 and len(fields) > 1 and np.median(fields[1:]) > 1:
        raise DataError(
            f"the first line of {path} is {first[0][:60]!r}, but the lines below have "
            f"{int(np.median(fields[1:]))} fields",
            "remove the lines above the header",
        )
    if names is not None:
        if first == names:
            raise DataError(
                f"header=false, but the first row of {path} is the columns' names",
                "leave out dataset.header and dataset.columns",
            )
        if len(first) != len(names):
            raise DataError(
                f"columns has {len(names)} names, but the first row of {path} has "
                f"{len(first)} fields",
                "name every column in order: dataset.columns=[...]",
            )
    twice = {name: count for name, count in Counter(names or first).items() if count > 1}
    if names is None and _is_data(first, bool(twice)):
        raise DataError(
            f"the first row of {path} looks like data, not like names: "
            f"{separator.join(first)[:60]!r}",
            f"name its {len(first)} columns: dataset.header=false dataset.columns=[...]",
        )
    for name, count in twice.items():
        if name == "":
            raise DataError(
                f"the header of {path} leaves {count} columns without a name",
                "give every column a name of its own in the header",
            )
        where = "columns has" if names is not None else f"the header of {path} has"
        raise DataError(f"{where} {name!r} {count} times", "give every column a name of its own")


def _is_data(first: tuple[str, ...], twice: bool) -> bool:
    """Whether a first row has only numbers, or some numbers and a field that occurs twice.

    The numbers 0, 1, 2, ... are names, with or without an empty name before them.
    """
    numbers = sum(1 for field in first if re.match(NUMBER, field))
    numbered = first[first[0] == "" :] == tuple(map(str, range(len(first) - (first[0] == ""))))
    if numbered or len(first) == 1:
        return False
    filled = sum(1 for field in first if field)
    return numbers > 0 and (numbers == filled or (twice and numbers >= len(first) / 4))


def _check_rows(
    fields: npt.NDArray[np.int64], width: int, path: Path, separator: str, unit: str
) -> None:
    """Raise DataError for rows with more or fewer fields than there are columns."""
    ragged = np.flatnonzero((fields != width) & (fields > 0))
    if len(ragged):
        at = int(ragged[0])
        more = f", and {len(ragged) - 1:,} more rows do not fit" if len(ragged) > 1 else ""
        raise DataError(
            f"{unit} {at + 1:,} of {path} has {fields[at]} fields, but there are {width} "
            f"columns{more}",
            f"give every row {width} fields, with quotes around one that has "
            f"{_NAMES.get(separator, repr(separator))} in it",
        )


def _line(content: bytes, offset: int) -> str:
    return format(content.count(b"\n", 0, offset) + 1, ",")


def _excerpt(content: bytes, offset: int) -> str:
    """Some characters around `offset`, in its line."""
    start = max(content.rfind(b"\n", 0, offset) + 1, offset - 30)
    end = content.find(b"\n", offset)
    stop = min(len(content) if end < 0 else end, offset + 30)
    return repr(content[start:stop].decode("utf-8", "replace"))
