"""Ids without a vocabulary: each value has the number of a bucket that its hash gives."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bsscale.data.table.column import Column

if TYPE_CHECKING:
    import polars as pl

__all__ = ["hashed_ids"]


def hashed_ids(column: Column, buckets: int) -> npt.NDArray[np.int32]:
    """The ids of the rows, int32: 1 + CRC-32 of the value's text modulo `buckets` − 1; 0: missing.

    Values of the same bucket have the same id. A value that training has not seen has an id too.
    """
    import polars as pl

    if column.codes is not None:
        return column.spread_array(_ids(column.values, buckets), 0)
    values = column.values.drop_nulls().unique()
    ids = _ids(values.cast(pl.String), buckets)
    if values.is_empty():
        return np.zeros(column.rows, np.int32)
    rows = column.values.replace_strict(values, pl.Series(ids), default=None, return_dtype=pl.Int32)
    return rows.fill_null(0).to_numpy()


def _ids(texts: pl.Series, buckets: int) -> npt.NDArray[np.int32]:
    return np.fromiter(
        (1 + zlib.crc32(text.encode()) % (buckets - 1) for text in texts), np.int32, len(texts)
    )
