"""Which rows of a table train, validate and test."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bsscale.data.encode import Rows, split_rows
from bsscale.data.table.column import Column
from bsscale.data.table.values import as_time
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["by_files", "by_fractions", "by_group", "by_time"]

_SPLITS = ("training", "validation", "test")
_FEWEST_GROUPS = 10


def by_fractions(order: npt.NDArray[np.int64], split: str, seed: int) -> Rows:
    """80/10/10 of the rows in `order`: at random, or as they follow each other."""
    rows = split_rows(len(order), split, seed)
    return Rows(order[rows.train], order[rows.validation], order[rows.test])


def by_files(
    order: npt.NDArray[np.int64], file_rows: tuple[int, ...], splits: tuple[int, int, int]
) -> Rows:
    """The rows of the files of each split.

    Parameters
    ----------
    order
        The rows that are kept, in their order.
    file_rows
        How many rows each file has.
    splits
        How many of the files belong to each split.

    Raises
    ------
    DataError
        A split has no row.
    """
    ends = np.cumsum(file_rows)[np.cumsum(splits) - 1]
    parts = np.split(order, np.searchsorted(order, ends[:2]))
    for part, option in zip(parts, ("path", "validation_path", "test_path"), strict=True):
        if not len(part):
            raise DataError(
                f"no row of dataset.{option} has a label", "give files with labelled rows"
            )
    return Rows(*parts)


def by_time(
    column: Column, kept: npt.NDArray[np.bool_], boundaries: tuple[str, str] | None
) -> Rows:
    """The rows that have a time, in its order: 80/10/10, or cut at two times.

    Parameters
    ----------
    column
        The times.
    kept
        bool, shape (rows,): whether a row has a label.
    boundaries
        The first times of validation and of test; None: 80/10/10.

    Raises
    ------
    DataError
        A boundary is no such time, or a split would be empty.
    """
    import polars as pl

    time = column.spread(as_time(column))
    timed = pl.DataFrame([time.alias("time"), pl.Series("kept", kept)]).with_row_index("row")
    timed = timed.filter("kept").drop_nulls("time").sort("time", maintain_order=True)
    order = timed["row"].to_numpy().astype(np.int64)
    if boundaries is None:
        return by_fractions(order, "time", 0)
    times, cuts = timed["time"], []
    for name, text in zip(("validation_from", "test_from"), boundaries, strict=True):
        boundary = _as_time(name, text, column.name, times.dtype)
        cuts.append(int((_comparable(times) < boundary).sum()))
    parts = np.split(order, cuts) if cuts == sorted(cuts) else []
    if not parts:
        raise DataError(
            f"validation_from is {boundaries[0]!r}, later than test_from, {boundaries[1]!r}",
            "give validation_from=... before test_from=...",
        )
    span = " to ".join(times[[0, -1]].cast(pl.String)) if len(times) else "no times"
    _refuse_empty(
        parts,
        f"validation_from={boundaries[0]} and test_from={boundaries[1]} cut rows from {span}",
    )
    return Rows(*parts)


def _comparable(times: pl.Series) -> pl.Series:
    """Times as numbers, or as instants of UTC without a zone."""
    import polars as pl

    if times.dtype.is_numeric():
        return times
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is not None:
        times = times.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return times.cast(pl.Datetime("us"))


def _as_time(option: str, text: str, column: str, dtype: pl.DataType) -> float | datetime:
    """A boundary as a number or an instant, as the times are."""
    import polars as pl

    number = dtype.is_numeric()
    try:
        if number:
            return float(text)
        if dtype == pl.Date or isinstance(dtype, pl.Datetime):
            instant = datetime.fromisoformat(text)
            if instant.tzinfo is not None:
                instant = instant.astimezone(UTC).replace(tzinfo=None)
            return instant
    except ValueError:
        pass
    raise DataError(
        f"{option} is {text!r}, and the times of {column!r} are {dtype}",
        "give a number, as in the column"
        if number
        else f"give a time such as dataset.{option}=2013-11-01 of a column of dates",
    )


def by_group(column: Column, kept: npt.NDArray[np.bool_], seed: int) -> Rows:
    """About 80/10/10 of the rows, all rows of a group in one split.

    The groups are taken in an order that `seed` gives, until there are enough rows. A row without a
    group is left out.

    Raises
    ------
    DataError
        Fewer than 10 groups, or so large ones that a split would be empty.
    """
    codes = np.where(kept, _group_codes(column), -1)
    order = np.flatnonzero(codes >= 0)
    groups, codes = np.unique(codes[order], return_inverse=True)
    counts = np.bincount(codes, minlength=len(groups))
    if len(groups) < _FEWEST_GROUPS:
        raise DataError(
            f"group_column {column.name!r} has {len(groups):,} values in rows with a label",
            f"give a column with at least {_FEWEST_GROUPS} groups, such as users",
        )
    shuffled = np.random.default_rng(seed).permutation(len(groups))
    before = np.cumsum(counts[shuffled]) - counts[shuffled]
    split_of = np.empty(len(groups), np.int64)
    split_of[shuffled] = np.searchsorted([0.8 * len(order), 0.9 * len(order)], before, "right")
    parts = [order[split_of[codes] == split] for split in range(3)]
    _refuse_empty(parts, f"the groups of {column.name!r} are too large to split")
    return Rows(*parts)


def _group_codes(column: Column) -> npt.NDArray[np.int32]:
    """The group of each row, int32; −1 is missing."""
    import polars as pl

    if column.codes is not None:
        return column.codes
    return column.values.rank("dense").cast(pl.Int32).fill_null(0).to_numpy() - 1


def _refuse_empty(parts: Sequence[npt.NDArray[np.int64]], fact: str) -> None:
    """Raise DataError if a split has no row."""
    for name, part in zip(_SPLITS, parts, strict=True):
        if not len(part):
            counts = ", ".join(f"{len(each):,}" for each in parts)
            raise DataError(
                f"{fact}: the {name} split would be empty (rows of training, validation and test: "
                f"{counts})",
                "choose others, so that each split has rows",
            )
