"""The relation of a feature to the label: a copy of it, or something that determines it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bsscale.data.table.column import Column

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Label", "relation"]

# Pairs of values and labels that are looked up in a table.
_PAIRS = 1 << 26
# Rows that show for almost any column that its values do not determine the label.
_FIRST = 1 << 14


@dataclass(frozen=True)
class Label:
    """The label of each row: float32, shape (rows,), NaN if it is missing."""

    rows: npt.NDArray[np.float32]

    @cached_property
    def levels(self) -> npt.NDArray[np.float32]:
        """The different labels, sorted."""
        present = self.rows[~np.isnan(self.rows)]
        return np.unique(present)

    @cached_property
    def codes(self) -> npt.NDArray[np.int32]:
        """The position of the label of each row in `levels`; their number if it is missing."""
        codes = np.searchsorted(self.levels, self.rows).astype(np.int32)
        codes[np.isnan(self.rows)] = len(self.levels)
        return codes


def relation(column: Column, converted: pl.Series, label: Label) -> str:
    """The relation of a feature to the label.

    "copy": each value occurs with one label and each label with one value, for few labels; or they
    are the same numbers. "determines": each of a few values occurs with one label. "proportional":
    the pairs are on a line. Otherwise empty.

    Parameters
    ----------
    column
        The feature.
    converted
        Its `values` as codes or numbers.
    label
        The label.
    """
    import polars as pl

    if len(label.levels) <= 2 and _shares_a_value(column, label):
        return ""
    pairs, rows = _pairs(column, converted, label)
    distinct, labels = pairs["value"].n_unique(), pairs["label"].n_unique()
    if labels < 2 or distinct < 2:
        return ""
    if len(pairs) == distinct and distinct * 20 <= rows + 20 * (distinct == labels == 2):
        return "copy" if distinct == labels else "determines"
    if labels > 2 and converted.dtype.is_float():
        if (pairs["value"].cast(pl.Float32) == pairs["label"]).all():
            return "copy"
        if len(pairs) > 2:
            correlation = np.corrcoef(pairs["value"].to_numpy(), pairs["label"].to_numpy())[0, 1]
            return "proportional" if abs(correlation) > 1 - 1e-9 else ""
    return ""


def _shares_a_value(column: Column, label: Label) -> bool:
    """Whether a value has two labels among the first rows: then it does not determine them."""
    if column.codes is None:
        return False
    codes, labels = column.codes[:_FIRST], label.codes[:_FIRST]
    present = (codes >= 0) & (labels < len(label.levels))
    pairs = np.unique(np.int64(len(label.levels)) * codes[present] + labels[present])
    values = pairs // max(len(label.levels), 1)
    return bool((values[1:] == values[:-1]).any())


def _pairs(column: Column, converted: pl.Series, label: Label) -> tuple[pl.DataFrame, int]:
    """The different pairs of value and label, and how many rows have both."""
    import polars as pl

    width = len(label.levels) + 1
    if column.codes is not None and (len(column.values) + 1) * width <= _PAIRS:
        # (the last row and column are those of missing values)
        seen = np.zeros((len(column.values) + 1, width), np.bool_)
        seen[column.codes, label.codes] = True
        value, level = np.nonzero(seen[:-1, :-1])
        rows = int(np.count_nonzero((column.codes >= 0) & (label.codes < width - 1)))
        pairs = pl.DataFrame(
            [converted.gather(value).alias("value"), pl.Series("label", label.levels[level])]
        )
    else:
        pairs = pl.DataFrame(
            [column.spread(converted).alias("value"), pl.Series("label", label.rows)]
        )
        pairs = pairs.fill_nan(None).drop_nulls()
        rows = len(pairs)
    return pairs.unique(), rows
