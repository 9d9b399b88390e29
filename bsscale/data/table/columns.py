"""Descriptions of the columns of a table, with notes on suspicious ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bsscale.data.dataset import ColumnFacts
from bsscale.data.table.remedies import option_list
from bsscale.data.table.roles import Roles
from bsscale.data.table.values import read_numbers
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check_copies", "describe_columns", "with_cardinalities"]

# Integers above this are not exact in float64.
_EXACT = 2**53
_HEXADECIMAL = r"^[0-9]+[eE][0-9]+$"


def describe_columns(
    frame: pl.DataFrame, values: pl.DataFrame, label: npt.NDArray[np.float32], roles: Roles
) -> tuple[ColumnFacts, ...]:
    """The columns of `frame` in order, with a note on each that looks wrong.

    Parameters
    ----------
    frame
        The table, with missing values as null.
    values
        The features alone, as codes and numbers; same rows.
    label
        float32, shape (rows,); NaN if it is missing.
    roles
        The roles of the columns.
    """
    facts = []
    for column in frame.get_columns():
        name, note = column.name, ""
        if name in values.columns:
            role = "categorical" if name in roles.categorical else "numeric"
            parts = [
                roles.reading.get(name, ""),
                _infinite(column),
                _suspicion(column, values[name], label),
            ]
            note = "; ".join(part for part in parts if part)
        elif name in (roles.label, roles.time):
            role = "label" if name == roles.label else "time"
        else:
            role, note = "unused", roles.unused.get(name, "")
        missing = column.null_count() / len(column)
        facts.append(ColumnFacts(name, role, _type(column, role), None, missing, note))
    return tuple(facts)


def with_cardinalities(
    columns: tuple[ColumnFacts, ...], cardinalities: dict[str, int]
) -> tuple[ColumnFacts, ...]:
    """The descriptions with the number of ids of each categorical field."""
    return tuple(replace(column, cardinality=cardinalities.get(column.name)) for column in columns)


def check_copies(values: pl.DataFrame, label: npt.NDArray[np.float32], roles: Roles) -> None:
    """Raise DataError if an inferred feature is a copy of the label.

    Raises
    ------
    DataError
        If each of its values occurs with one label, and each label with one of its values.
    """
    copies = [
        name
        for name in values.columns
        if name in roles.inferred and _relation(values[name], label) == "copy"
    ]
    if copies:
        raise DataError(
            f"column {copies[0]!r} is the label {roles.label!r} again: each of its values "
            "occurs with one label",
            f"{option_list('drop', copies)}; to train on it anyway, name it under categorical "
            "or numeric",
        )


def _type(column: pl.Series, role: str) -> str:
    """The type of a column in words: Parquet's type, or the type of the values in its text."""
    import polars as pl

    if column.dtype != pl.String:
        return str(column.dtype)
    if role in ("categorical", "unused"):
        return "text"
    if column.str.contains(r"^\s*[+-]?[0-9]+\s*$").all():
        return "integer"
    return "float" if read_numbers(column).null_count() == column.null_count() else "text"


def _infinite(column: pl.Series) -> str:
    """A note on infinite values in a column of floats, which count as missing."""
    count = int(column.is_infinite().sum()) if column.dtype.is_float() else 0
    return f"{count:,} infinite values count as missing" if count else ""


def _suspicion(column: pl.Series, values: pl.Series, label: npt.NDArray[np.float32]) -> str:
    """A note on a feature that looks wrong; empty for others."""
    import polars as pl

    present, raw = values.drop_nulls(), column.drop_nulls().n_unique()
    distinct, number = present.n_unique(), values.dtype.is_float()
    if not distinct:
        return "no values"
    if distinct < raw and column.dtype != pl.Decimal and bool((present.abs() > _EXACT).any()):
        return "different integers above 2^53 merge; ids belong under categorical"
    if distinct == 1:
        return "constant"
    relation = _relation(values, label)
    if relation:
        return {"copy": "the label again", "determines": "its value determines the label"}.get(
            relation, "proportional to the label"
        )
    is_id = column.dtype in (pl.String, pl.Categorical, pl.Enum) or column.dtype.is_integer()
    whole = not number or bool((present.floor() == present).all())
    if distinct == len(present) and is_id and whole:
        return "row number" if _counts(column) else "every value is different: an id?"
    if number and distinct > 2 and len(present) >= 20:
        numbers = present.to_numpy()
        far = np.abs(numbers - np.median(numbers))
        # One value causes almost all of the standard deviation.
        if far.max() >= 0.99 * len(numbers) ** 0.5 * numbers.std():
            return f"{numbers[far.argmax()]:g} is far from all other values"
    if number and column.dtype == pl.String and column.str.contains(_HEXADECIMAL).any():
        return "numbers such as 1e5; hexadecimal ids belong under categorical"
    if not number and distinct > 0.9 * len(present) and distinct > 20:
        return f"{distinct:,} values in {len(present):,} rows: an id?"
    return ""


def _counts(column: pl.Series) -> bool:
    """Whether the values of a column are its row numbers, from 0 or 1."""
    import polars as pl

    numbers = column.cast(pl.String).cast(pl.Int64, strict=False)
    start = (numbers - pl.int_range(len(numbers), eager=True)).drop_nulls().unique().to_list()
    return numbers.null_count() == column.null_count() and start in ([0], [1])


def _relation(values: pl.Series, label: npt.NDArray[np.float32]) -> str:
    """The relation of a feature to the label.

    "copy": each value occurs with one label and each label with one value, for few labels; or they
    are the same numbers. "determines": each of a few values occurs with one label. "proportional":
    the pairs are on a line. Otherwise empty.
    """
    import polars as pl

    pairs = pl.DataFrame([values.alias("value"), pl.Series("label", label)])
    pairs = pairs.fill_nan(None).drop_nulls()
    rows = len(pairs)
    pairs = pairs.unique()
    distinct, labels = pairs["value"].n_unique(), pairs["label"].n_unique()
    if labels < 2 or distinct < 2:
        return ""
    if len(pairs) == distinct and distinct * 20 <= rows + 20 * (distinct == labels == 2):
        return "copy" if distinct == labels else "determines"
    if labels > 2 and values.dtype.is_float():
        if (pairs["value"].cast(pl.Float32) == pairs["label"]).all():
            return "copy"
        if len(pairs) > 2:
            correlation = np.corrcoef(pairs["value"].to_numpy(), pairs["label"].to_numpy())[0, 1]
            return "proportional" if abs(correlation) > 1 - 1e-9 else ""
    return ""
