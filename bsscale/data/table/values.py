"""The values of columns: missing values, numbers, and the order of categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bsscale.data.table.remedies import option_list
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "NUMBER",
    "Text",
    "as_category",
    "as_number",
    "as_time",
    "is_category",
    "read_numbers",
    "with_missing",
]

# How text files write a missing value.
_NULLS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "\\N"]

NUMBER = r"^\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*$"
# A number with leading zeros, such as 00012, is a code.
_CODE = r"^0[0-9]+$"
# Numbers in the forms that people write: 1,000 and 3,14 and $5 and 5%.
_WRITTEN = (
    r"^\s*[+-]?[$€£]?\s*(?:[0-9]{1,3}(?:[,. '][0-9]{3})+|[0-9]+)(?:[.,][0-9]+)?\s*[%$€£]?\s*$"
)
_MOSTLY = 0.9
_LARGEST = 1e30


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
        The values that are not numbers, the most frequent first.
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
    def of(cls, column: pl.Series) -> Text:
        import polars as pl

        values = column.drop_nulls().alias("value").value_counts(name="count", sort=True)
        value = pl.col("value").str
        values = values.with_columns(
            number=value.contains(NUMBER), written=value.contains(_WRITTEN)
        ).with_columns(pl.col("written") | pl.col("number"))
        numbers = values.filter("number")
        codes = numbers.filter(value.contains(_CODE))["value"]
        padded = numbers.filter(value.contains(r"^\s|^\+|\s$"))["value"]
        return cls(
            present=int(values["count"].sum()),
            numbers=int(numbers["count"].sum()),
            written=int(values.filter("written")["count"].sum()),
            odd=tuple(values.filter(~pl.col("number"))["value"]),
            code=codes[0] if len(codes) else None,
            padded=padded[0] if len(padded) else None,
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
        shown = ", ".join(map(repr, self.odd[:5])) + (", ..." if len(self.odd) > 5 else "")
        return DataError(
            f"column {name!r} is not numeric: {self.numbers:,} of {self.present:,} values are "
            f"numbers, {odd:,} {'is' if odd == 1 else 'are'} not: {shown}",
            f"{option_list('nulls', self.odd[:5])} if they mean a missing value, "
            f"{named} if it is a category, "
            f"{option_list('drop', [name])} to leave it out, or write plain numbers",
        )


def with_missing(frame: pl.DataFrame, nulls: Sequence[str], is_text: bool) -> pl.DataFrame:
    """The table with missing values as null: NaN, the usual words of text files, and `nulls`.

    In a column of numbers (Parquet), the numbers among `nulls` are compared as numbers.
    """
    import polars as pl

    words = [*(_NULLS if is_text else ()), *nulls]
    numbers = [float(word) for word in nulls if _parses(word)]
    changed = []
    for column in frame.get_columns():
        if column.dtype.is_float():
            column = column.fill_nan(None)
        if column.dtype in (pl.String, pl.Categorical, pl.Enum) and words:
            column = _nulled(column, column.cast(pl.String).is_in(words))
        elif column.dtype.is_numeric():
            for number in numbers:
                column = _nulled(column, column.cast(pl.Float64, strict=False) == number)
        changed.append(column)
    # (A list would rename a column without a name.)
    return pl.DataFrame({column.name: column for column in changed})


def _nulled(column: pl.Series, missing: pl.Series) -> pl.Series:
    """`column` with null where `missing` is true."""
    import polars as pl

    # Rename the column: "*" in an expression would mean all columns.
    both = pl.DataFrame([column.alias("value"), missing.fill_null(False).alias("missing")])
    return both.select(pl.when(~pl.col("missing")).then("value")).to_series().alias(column.name)


def _parses(word: str) -> bool:
    try:
        return bool(np.isfinite(float(word)))
    except ValueError:
        return False


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


def as_number(column: pl.Series) -> pl.Series:
    """A column as float64; infinite values of Parquet are missing.

    Raises
    ------
    DataError
        If a value is not a number, or so large that the other values would round to 0.
    """
    import polars as pl

    name = column.name
    if column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype == pl.String:
        numbers = read_numbers(column)
        if bool((numbers.is_null() & column.is_not_null()).any()):
            text = Text.of(column)
            if set(text.odd) == set(column.drop_nulls().unique()) <= {"true", "false"}:
                return (column == "true").cast(pl.Float64)
            raise text.refusal(name)
    else:
        numbers = column.cast(pl.Float64, strict=False)
        lost = column.filter(numbers.is_null() & column.is_not_null())
        if len(lost):
            raise DataError(
                f"column {name!r} is not numeric: {len(lost):,} values such as {lost[0]!r}",
                f"name it under categorical, or {option_list('drop', [name])}",
            )
        numbers = _nulled(numbers, ~numbers.is_finite())
    wrong = numbers.abs() > _LARGEST
    if wrong.any():
        row = int(wrong.fill_null(False).arg_true()[0])
        raise DataError(
            f"column {name!r} has {column[row]!r} in row {row + 1:,}, which would make every "
            "other value 0",
            f"{option_list('nulls', [str(column[row])])} if it means a missing value, "
            f"{option_list('categorical', [name])} if it is an id, or give another number",
        )
    return numbers


def as_category(column: pl.Series, is_text: bool) -> pl.Series:
    """A column as int64 codes in an order that depends only on its values; null if missing.

    Two values have one code only if they are the same text (in Parquet: the same value). If all
    values of a column of a text file are numbers, they are in the order of the numbers.
    """
    import polars as pl

    if column.dtype in (pl.Categorical, pl.Enum, pl.Null):
        # The order of their values depends on the order in which they were created.
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        return column.rank("dense").cast(pl.Int64)
    values = column.drop_nulls().unique().to_frame("value").sort("value")
    if is_text:
        numbers = values["value"].cast(pl.Float64, strict=False)
        if numbers.null_count() == 0:
            values = values.with_columns(number=numbers).sort("number", maintain_order=True)
    if values.is_empty():
        return pl.Series(column.name, [None] * len(column), pl.Int64)
    codes = pl.int_range(len(values), dtype=pl.Int64, eager=True)
    return column.replace_strict(values["value"], codes, default=None, return_dtype=pl.Int64)


def as_time(column: pl.Series) -> pl.Series:
    """A column that sorts by time: numbers and dates unchanged, text parsed.

    Raises
    ------
    DataError
        If it is text that is neither a number nor ISO 8601.
    """
    import polars as pl

    if column.dtype.is_float() or column.dtype.is_integer() or column.dtype.is_temporal():
        return column
    texts = column.cast(pl.String)
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
