"""A column of a table: its values, and which row has which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bsscale.data.encode import count_codes

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Column", "has_value", "is_text", "nulled", "with_missing"]

# How text files write a missing value.
_NULLS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "\\N"]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Text is kept as distinct values and the number of the value of each row, because most columns
    have far fewer values than rows: what is asked of the values is asked of each value once.

    Attributes
    ----------
    name
        Of the column.
    dtype
        Its type in the source.
    values
        The distinct values in their order, none missing, as text; without `codes`, the values of
        the rows, with missing values as null.
    codes
        int32, shape (rows,): the position in `values`; −1 is missing. None for numbers, dates and
        other values that are not text.
    """

    name: str
    dtype: pl.DataType
    values: pl.Series
    codes: npt.NDArray[np.int32] | None = None

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.values if self.codes is None else self.codes)

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """The number of rows of each distinct value, int64."""
        assert self.codes is not None
        return count_codes(self.codes, len(self.values))

    @cached_property
    def missing(self) -> int:
        """The number of rows without a value."""
        if self.codes is None:
            return self.values.null_count()
        return int(np.count_nonzero(self.codes < 0))

    @property
    def distinct(self) -> int:
        """The number of distinct values."""
        return self.values.drop_nulls().n_unique() if self.codes is None else len(self.values)

    def to_list(self) -> list[Any]:
        """The value of each row; None if it is missing."""
        return self.spread(self.values).to_list()

    def spread(self, converted: pl.Series) -> pl.Series:
        """What `values` were converted to, for each row."""
        import polars as pl

        if self.codes is None:
            return converted
        rows = pl.Series(self.codes).cast(pl.UInt32, strict=False)
        return converted.gather(rows).alias(self.name)

    def spread_array(self, converted: npt.NDArray[Any], missing: Any) -> npt.NDArray[Any]:
        """As `spread`, for an array; rows without a value have the value `missing`."""
        assert self.codes is not None
        # (-1 is the last element)
        return np.append(converted, np.asarray(missing, converted.dtype)).take(self.codes)


def is_text(dtype: pl.DataType) -> bool:
    """Whether a column of this type is kept as distinct values."""
    import polars as pl

    return dtype in (pl.String, pl.Categorical, pl.Enum)


def with_missing(column: Column, nulls: Sequence[str], from_text: bool) -> Column:
    """The column with missing values as null: NaN, the usual words of text files, and `nulls`.

    In a column of numbers (Parquet), the numbers among `nulls` are compared as numbers.
    """
    import polars as pl

    if column.codes is not None:
        words = [*(_NULLS if from_text else ()), *nulls]
        missing = column.values.is_in(words).to_numpy()
        if not missing.any():
            return column
        kept = ~missing
        places = np.where(kept, np.cumsum(kept, dtype=np.int32) - 1, -1).astype(np.int32)
        return replace(
            column,
            values=column.values.filter(pl.Series(kept)),
            codes=column.spread_array(places, -1),
        )
    values = column.values
    if column.dtype.is_float():
        values = values.fill_nan(None)
    if column.dtype.is_numeric():
        for number in _numbers(nulls):
            values = nulled(values, _equal(values, number))
    return replace(column, values=values)


def has_value(column: Column, word: str) -> bool:
    """Whether a value of the column is `word`, or, in a column of numbers, is this number."""
    if column.codes is not None:
        return bool((column.values == word).any())
    if not column.dtype.is_numeric():
        return False
    return any(bool(_equal(column.values, number).any()) for number in _numbers([word]))


def nulled(column: pl.Series, missing: pl.Series) -> pl.Series:
    """`column` with null where `missing` is true."""
    import polars as pl

    # Rename the column: "*" in an expression would mean all columns.
    both = pl.DataFrame([column.alias("value"), missing.fill_null(False).alias("missing")])
    return both.select(pl.when(~pl.col("missing")).then("value")).to_series().alias(column.name)


def _equal(values: pl.Series, number: float) -> pl.Series:
    import polars as pl

    return values.cast(pl.Float64, strict=False) == number


def _numbers(words: Sequence[str]) -> list[float]:
    """Those of `words` that are finite numbers."""
    found = []
    for word in words:
        try:
            number = float(word)
        except ValueError:
            continue
        if np.isfinite(number):
            found.append(number)
    return found
