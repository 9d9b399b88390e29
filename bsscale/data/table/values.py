"""The values of columns: numbers, times, and the order of categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bsscale.data.table.column import Column, nulled
from bsscale.data.table.remedies import option_list
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "NO_TEXT",
    "NUMBER",
    "Text",
    "as_category",
    "as_number",
    "as_time",
    "is_category",
    "read_numbers",
]

NUMBER = r"^\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*$"
# A number with leading zeros, such as 00012, is a code.
_CODE = r"^0[0-9]+$"
# Numbers in the forms that people write: 1,000 and 3,14 and $5 and 5%.
_WRITTEN = (
    r"^\s*[+-]?[$€£]?\s*(?:[0-9]{1,3}(?:[,. '][0-9]{3})+|[0-9]+)(?:[.,][0-9]+)?\s*[%$€£]?\s*$"
)
_MOSTLY = 0.9
_LARGEST = 1e30
# Values that are shown in a message.
_SHOWN = 5


@dataclass(frozen=True)
class Text:
    """Statistics of the values of a column of text.

    Attributes
    ----------
    present
        Number of values that are not missing.
    numbers
        Number of them that are numbers.
    written
        Number of them that are numbers, or look like numbers in a form that people write.
    odd
        Some of the values that are not numbers, the most frequent first.
    code
        A number with leading zeros, if there is one.
    padded
        A number with spaces around it or a plus sign, if there is one.
    """

    present: int
    numbers: int
    written: int
    odd: tuple[str, ...]
    code: str | None
    padded: str | None

    @classmethod
    def of(cls, column: Column) -> Text:
        """The statistics of a column of text."""
        import polars as pl

        counts = pl.Series(column.counts)
        found = pl.DataFrame([column.values.alias("value"), counts.alias("count")])
        value = pl.col("value").str
        values = found.with_columns(
            number=value.contains(NUMBER), written=value.contains(_WRITTEN)
        ).with_columns(pl.col("written") | pl.col("number"))
        numbers = values.filter("number")
        return cls(
            present=int(values["count"].sum()),
            numbers=int(numbers["count"].sum()),
            written=int(values.filter("written")["count"].sum()),
            odd=tuple(_frequent(values.filter(~pl.col("number")), _SHOWN + 1)),
            code=_first(numbers.filter(value.contains(_CODE))),
            padded=_first(numbers.filter(value.contains(r"^\s|^\+|\s$"))),
        )

    @property
    def is_numeric(self) -> bool:
        """Whether all values are numbers, and none is a code."""
        return self.present > 0 and self.numbers == self.present and self.code is None

    @property
    def is_almost_numeric(self) -> bool:
        """Whether so many values are numbers that the others look like mistakes."""
        return (
            self.numbers < self.present
            and self.code is None
            and self.written >= _MOSTLY * self.present
        )

    def refusal(self, name: str, categories: Sequence[str] = ()) -> DataError:
        """The error for a column that should be numeric and has other values.

        `categories` are the other categorical columns, which must be named with it.
        """
        odd = self.present - self.numbers
        named = option_list("categorical", [*categories, name])
        if len(categories) > 10:
            named = f"name {name!r} and all other categories under dataset.categorical"
        shown = ", ".join(map(repr, self.odd[:_SHOWN])) + (
            ", ..." if len(self.odd) > _SHOWN else ""
        )
        return DataError(
            f"column {name!r} is not numeric: {self.numbers:,} of {self.present:,} values are "
            f"numbers, {odd:,} {'is' if odd == 1 else 'are'} not: {shown}",
            f"{option_list('nulls', self.odd[:_SHOWN])} if they mean a missing value, "
            f"{named} if it is a category, "
            f"{option_list('drop', [name])} to leave it out, or write plain numbers",
        )


NO_TEXT = Text(0, 0, 0, (), None, None)


def is_category(dtype: pl.DataType) -> bool:
    """Whether a column of this type is categorical by default."""
    import polars as pl

    return dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)


def read_numbers(texts: pl.Series) -> pl.Series:
    """Text as float64, with null for text that is not a number."""
    import polars as pl

    return (
        texts.alias("text")
        .to_frame()
        .select(
            pl.when(pl.col("text").str.contains(NUMBER))
            .then(pl.col("text").str.strip_chars())
            .cast(pl.Float64, strict=False)
        )
        .to_series()
        .alias(texts.name)
    )


def as_number(column: Column) -> pl.Series:
    """The values of a column as float64; infinite values of Parquet are missing.

    Raises
    ------
    DataError
        If a value is not a number, or so large that the other values would round to 0.
    """
    import polars as pl

    name, values = column.name, column.values
    if column.codes is not None:
        numbers = read_numbers(values)
        if numbers.null_count():
            if len(values) <= 2 and set(values) <= {"true", "false"}:
                return (values == "true").cast(pl.Float64)
            raise Text.of(column).refusal(name)
    else:
        numbers = values.cast(pl.Float64, strict=False)
        lost = values.filter(numbers.is_null() & values.is_not_null())
        if len(lost):
            raise DataError(
                f"column {name!r} is not numeric: {len(lost):,} values such as {lost[0]!r}",
                f"name it under categorical, or {option_list('drop', [name])}",
            )
        numbers = nulled(numbers, ~numbers.is_finite())
    wrong = (numbers.abs() > _LARGEST).fill_null(False)
    if wrong.any():
        row = int(column.spread(wrong).fill_null(False).arg_true()[0])
        value = values[row if column.codes is None else int(column.codes[row])]
        raise DataError(
            f"column {name!r} has {value!r} in row {row + 1:,}, which would make every "
            "other value 0",
            f"{option_list('nulls', [str(value)])} if it means a missing value, "
            f"{option_list('categorical', [name])} if it is an id, or give another number",
        )
    return numbers


def as_category(column: Column, from_text: bool) -> pl.Series:
    """The values of a column as int32 codes in an order that depends only on the values.

    Two values have one code only if they are the same text (in Parquet: the same value). If all
    values of a column of a text file are numbers, they are in the order of the numbers.
    """
    import polars as pl

    values = column.values
    if column.codes is None:
        if values.dtype == pl.Null:
            return pl.Series(column.name, [None] * len(values), pl.Int32)
        if not values.dtype.is_integer() or values.dtype == pl.Int128:
            return values.rank("dense").cast(pl.Int32)
        known = values.drop_nulls().unique().sort()
        if known.is_empty():
            return pl.Series(column.name, [None] * len(values), pl.Int32)
        codes = pl.int_range(len(known), dtype=pl.Int32, eager=True)
        return values.replace_strict(known, codes, default=None, return_dtype=pl.Int32)
    codes = pl.int_range(len(values), dtype=pl.Int32, eager=True)
    if from_text:
        numbers = values.cast(pl.Float64, strict=False)
        if numbers.null_count() == 0:
            order = np.argsort(numbers.to_numpy(), kind="stable")
            places = np.empty(len(order), np.int32)
            places[order] = codes.to_numpy()
            codes = pl.Series(places)
    return codes.alias(column.name)


def as_time(column: Column) -> pl.Series:
    """The values of a column so that they sort by time: numbers and dates unchanged, text parsed.

    Raises
    ------
    DataError
        If it is text that is neither a number nor ISO 8601.
    """
    import polars as pl

    if column.dtype.is_float() or column.dtype.is_integer() or column.dtype.is_temporal():
        return column.values
    texts = column.values.cast(pl.String)
    present = texts.is_not_null()
    for numbers in (texts.cast(pl.Int64, strict=False), read_numbers(texts)):
        if (numbers.is_not_null() == present).all():
            return numbers
    # Accept only ISO dates: in 1/2/2013 the month is ambiguous.
    strange = texts.filter(~texts.str.contains(r"^\d{4}-\d{2}-\d{2}"))
    odd = strange.filter(~strange.str.contains(NUMBER))
    strange = odd if len(odd) else strange
    try:
        if strange.is_empty():
            return texts.str.to_datetime(time_zone="UTC")
    except pl.exceptions.PolarsError:
        strange = texts.drop_nulls()
    raise DataError(
        f"the time column {column.name!r} has values such as {strange[0]!r}",
        "give numbers, dates, or text of one form such as 2013-01-31 or 2013-01-31T23:59:00",
    )


def _frequent(found: pl.DataFrame, count: int) -> list[str]:
    """The most frequent values."""
    return found.sort("count", descending=True, maintain_order=True)["value"][:count].to_list()


def _first(found: pl.DataFrame) -> str | None:
    """The most frequent value, if there is one."""
    return next(iter(_frequent(found, 1)), None)
