"""Descriptions of the columns of a table, with notes on suspicious ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bsscale.data.dataset import ColumnFacts
from bsscale.data.table.column import Column
from bsscale.data.table.remedies import option_list
from bsscale.data.table.roles import Roles
from bsscale.data.table.values import read_numbers
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["describe", "describe_feature", "refuse_copies"]

# Integers above this are not exact in float64.
_EXACT = 2**53
# From this skewness on, if there are so many rows, a note recommends logarithms.
_SKEWED, _ROWS_OF_SKEW = 10.0, 1000
_HEXADECIMAL = r"^[0-9]+[eE][0-9]+$"


def describe(column: Column, roles: Roles) -> ColumnFacts:
    """A column that is no feature."""
    named = {
        **{roles.label: "label", roles.time: "time"},
        **{roles.group: "group", roles.weight: "weight"},
    }
    role = named.get(column.name, "unused")
    return _facts(column, role, roles.unused.get(column.name, ""), None)


def describe_feature(
    column: Column,
    converted: pl.Series,
    relation: str,
    cardinality: int | None,
    roles: Roles,
    is_transformed: bool = False,
) -> ColumnFacts:
    """A feature, with a note if it looks wrong.

    Parameters
    ----------
    column
        The feature.
    converted
        Its `values` as codes or numbers.
    relation
        Its relation to the label.
    cardinality
        Number of its ids; None for numbers.
    roles
        The roles of the columns.
    is_transformed
        Whether numbers are transformed before they are standardized.
    """
    role = "numeric" if cardinality is None else "categorical"
    suspicion = _suspicion(column, converted, relation)
    if role == "numeric" and not suspicion and not is_transformed:
        suspicion = _skewed(column, converted)
    parts = [roles.reading.get(column.name, ""), _infinite(column), suspicion]
    return _facts(column, role, "; ".join(part for part in parts if part), cardinality)


def refuse_copies(copies: list[str], label: str) -> None:
    """Raise DataError if there are inferred features that are copies of the label."""
    if copies:
        raise DataError(
            f"column {copies[0]!r} is the label {label!r} again: each of its values "
            "occurs with one label",
            f"{option_list('drop', copies)}; to train on it anyway, name it under categorical "
            "or numeric",
        )


def _facts(column: Column, role: str, note: str, cardinality: int | None) -> ColumnFacts:
    missing = column.missing / column.rows
    return ColumnFacts(column.name, role, _type(column, role), cardinality, missing, note)


def _type(column: Column, role: str) -> str:
    """The type of a column in words: Parquet's type, or the type of the values in its text."""
    import polars as pl

    if column.dtype != pl.String:
        return str(column.dtype)
    if role in ("categorical", "unused"):
        return "text"
    if column.values.str.contains(r"^\s*[+-]?[0-9]+\s*$").all():
        return "integer"
    return "text" if read_numbers(column.values).null_count() else "float"


def _infinite(column: Column) -> str:
    """A note on infinite values in a column of floats, which count as missing."""
    count = int(column.values.is_infinite().sum()) if column.dtype.is_float() else 0
    return f"{count:,} infinite values count as missing" if count else ""


def _suspicion(column: Column, converted: pl.Series, relation: str) -> str:
    """A note on a feature that looks wrong; empty for others."""
    import polars as pl

    known = converted.drop_nulls()
    distinct, number = known.n_unique(), converted.dtype.is_float()
    present = column.rows - column.missing if column.codes is not None else len(known)
    if not distinct:
        return "no values"
    if (
        distinct < column.distinct
        and column.dtype != pl.Decimal
        and bool((known.abs() > _EXACT).any())
    ):
        return "different integers above 2^53 merge; ids belong under categorical"
    if distinct == 1:
        return "constant"
    if relation:
        return {"copy": "the label again", "determines": "its value determines the label"}.get(
            relation, "proportional to the label"
        )
    is_id = column.dtype in (pl.String, pl.Categorical, pl.Enum) or column.dtype.is_integer()
    whole = not number or bool((known.floor() == known).all())
    if distinct == present and is_id and whole:
        return "row number" if _counts(column) else "every value is different: an id?"
    if number and distinct > 2 and present >= 20:
        outlier = _outlier(*_weighted(column, converted))
        if outlier is not None:
            return f"{outlier:g} is far from all other values"
    if number and column.dtype == pl.String and column.values.str.contains(_HEXADECIMAL).any():
        return "numbers such as 1e5; hexadecimal ids belong under categorical"
    if not number and distinct > 0.9 * present and distinct > 20:
        return f"{distinct:,} values in {present:,} rows: an id?"
    return ""


def _weighted(
    column: Column, converted: pl.Series
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The numbers of a column, and how many rows have each."""
    numbers = converted.drop_nulls().to_numpy()
    if column.codes is None:
        return numbers, np.ones(len(numbers))
    return numbers, column.counts.astype(np.float64)


def _outlier(
    numbers: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> np.float64 | None:
    """The one number that causes almost all of the standard deviation, if there is one."""
    order = np.argsort(numbers)
    ends = np.cumsum(weights[order])
    rows = ends[-1]
    middle = np.searchsorted(ends, [(rows - 1) // 2, rows // 2], "right")
    far = np.abs(numbers - numbers[order][middle].mean())
    deviations = numbers - np.average(numbers, weights=weights)
    spread = np.average(deviations**2, weights=weights) ** 0.5
    return numbers[far.argmax()] if far.max() >= 0.99 * rows**0.5 * spread else None


def _skewed(column: Column, converted: pl.Series) -> str:
    """A note on counts of which a few are much larger than all others."""
    numbers, weights = _weighted(column, converted)
    if weights.sum() < _ROWS_OF_SKEW or numbers.min() < 0:
        return ""
    deviations = numbers - np.average(numbers, weights=weights)
    variance = np.average(deviations**2, weights=weights)
    skewness = np.average(deviations**3, weights=weights) / variance**1.5
    if skewness < _SKEWED:
        return ""
    return f"very skewed ({skewness:.0f}); dataset.numeric_transform=log1p may train better"


def _counts(column: Column) -> bool:
    """Whether the values of a column are its row numbers, from 0 or 1."""
    import polars as pl

    numbers = column.values.cast(pl.String).cast(pl.Int64, strict=False)
    if numbers.null_count() > column.values.null_count():
        return False
    rows = column.spread(numbers)
    start = (rows - pl.int_range(len(rows), eager=True)).drop_nulls().unique().to_list()
    return start in ([0], [1])
