"""The files of a table, and their content as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bsscale.data.table.chunks import chunks_of
from bsscale.data.table.column import Column, is_text
from bsscale.data.table.content import Content
from bsscale.data.table.factors import Factors
from bsscale.data.table.text import TextFile
from bsscale.errors import DataError
from bsscale.terminal.steps import Steps

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Source", "TableFile"]

# Rows of a column of Parquet that are factored together.
_ROWS = 1 << 18
# Notes on the reading of files.
_NOTES = 5


@dataclass(frozen=True)
class TableFile:
    """A file of a table.

    Attributes
    ----------
    path
        Its name is never used as a pattern.
    format
        Its suffixes in lower case, such as ".csv.gz".
    """

    path: Path
    format: str


@dataclass(frozen=True)
class Source:
    """The files of a table and how they are read.

    Attributes
    ----------
    path
        What was given: a file, the folder of the files, or the first one of a list.
    files
        The files in the order of their rows.
    separator
        The separator of the fields of text files; None for Parquet.
    names
        The columns of text files without a header; None if the first row has their names.
    splits
        How many of the files are those of training, validation and test; None: the rows are split.
    """

    path: Path
    files: tuple[TableFile, ...]
    separator: str | None
    names: tuple[str, ...] | None
    splits: tuple[int, int, int] | None = None

    @property
    def is_text(self) -> bool:
        """Whether all values are read as text, and converted by the roles of the columns."""
        return self.separator is not None

    @property
    def paths(self) -> list[Path]:
        """The paths of the files."""
        return [file.path for file in self.files]

    def read(self, scratch: Path) -> Content:
        """All columns, those of text files as text.

        Parameters
        ----------
        scratch
            A folder for columns of text, which must exist as long as the content is used.

        Raises
        ------
        DataError
            If it cannot be read without guessing.
        """
        content = (_parquet if self.separator is None else _text)(self, scratch)
        if not content.rows:
            raise DataError(f"{self.path} is empty: it has no rows", "give a file with rows")
        return content


def _text(source: Source, scratch: Path) -> Content:
    import polars as pl

    assert source.separator is not None
    factors: dict[str, Factors] = {}
    rows, notes = [], []
    with Steps(f"reading {source.path.name}", "rows") as steps:
        for each in source.files:
            file, count = TextFile(each.path, source.separator, source.names), 0
            for frame in file.frames(chunks_of(each.path, each.format)):
                if not factors:
                    _check_names(each.path, file.columns)
                    for number, name in enumerate(file.columns):
                        folder = scratch / f"text-{number}"
                        factors[name] = Factors(folder, name, pl.String())
                if not count:
                    _check_columns(each.path, file.columns, source.files[0].path, list(factors))
                for name in file.columns:
                    factors[name].add(frame[name])
                count += len(frame)
                steps.advance(len(frame))
            rows.append(count)
            several = len(source.files) > 1
            notes += [f"{each.path.name}: {note}" if several else note for note in file.notes()]
    if len(notes) > _NOTES:
        notes = [*notes[:_NOTES], f"There are {len(notes) - _NOTES:,} more such notes."]
    dtypes = dict.fromkeys(factors, pl.String())
    return Content(dtypes, tuple(rows), lambda name: factors[name].column(), tuple(notes))


def _check_names(path: Path, names: Iterable[str]) -> None:
    """Raise DataError for names that polars would interpret as patterns."""
    for name in names:
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            raise DataError(
                f"{path} has a column called {name!r}, which would be read as a pattern",
                "give the column another name",
            )


def _check_columns(path: Path, columns: tuple[str, ...], first: Path, expected: list[str]) -> None:
    """Raise DataError for files with different columns."""
    for one, other, names in (
        (path, first, [name for name in columns if name not in expected]),
        (first, path, [name for name in expected if name not in columns]),
    ):
        if names:
            raise DataError(
                f"{one} has a column {names[0]!r}, which {other} has not",
                "give files with the same columns: dataset.path=[...], or dataset.pattern=...",
            )


@dataclass
class _Parquet:
    """The Parquet files of a table."""

    paths: list[Path]
    dtypes: dict[str, pl.DataType]
    rows: list[int]
    scratch: Path
    factors: dict[str, Factors] = field(default_factory=dict)

    def column(self, name: str) -> Column:
        import polars as pl

        if not is_text(self.dtypes[name]):
            values = pl.concat(list(self._parts(name)))
            return Column(name, self.dtypes[name], values)
        if name not in self.factors:
            folder = self.scratch / f"text-{len(self.factors)}"
            factors = Factors(folder, name, self.dtypes[name])
            for part in self._parts(name):
                for start in range(0, len(part), _ROWS):
                    factors.add(part[start : start + _ROWS])
            self.factors[name] = factors
        return self.factors[name].column()

    def _parts(self, name: str) -> Iterator[pl.Series]:
        import polars as pl

        for path in self.paths:
            # (files may have their columns in different orders)
            place = list(_schema(path)).index(name)
            with _reading(path):
                frame = pl.read_parquet(path, columns=[place], glob=False, hive_partitioning=False)
            yield frame.to_series().alias(name)


def _parquet(source: Source, scratch: Path) -> Content:
    import polars as pl

    first, dtypes, rows = source.files[0].path, dict[str, "pl.DataType"](), []
    for path in source.paths:
        own = _schema(path)
        dtypes = dtypes or own
        _check_names(path, own)
        _check_columns(path, tuple(own), first, list(dtypes))
        for name, dtype in own.items():
            if dtype != dtypes[name]:
                raise DataError(
                    f"column {name!r} is {dtype} in {path} and {dtypes[name]} in {first}",
                    "write it with one type in all files",
                )
        scan = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        with _reading(path):
            rows.append(int(scan.select(pl.len()).collect().item()))
    files = _Parquet(source.paths, dtypes, rows, scratch)
    return Content(dtypes, tuple(rows), files.column)


def _schema(path: Path) -> dict[str, pl.DataType]:
    import polars as pl

    # Do not interpret the name of the file or of its folder as a pattern or a partition.
    with _reading(path):
        scan = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        return dict(scan.collect_schema())


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise DataError where a Parquet file cannot be read."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DataError(
            f"cannot read {path}: {reason}", "check that it is a whole Parquet file"
        ) from error
