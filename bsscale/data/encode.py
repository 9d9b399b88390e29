"""From columns to arrays: split the rows, fit on the training rows, encode them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bsscale.data.dataset import Dataset, Samples, Schema
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SPLITS", "Rows", "check_integer", "check_split", "encode", "split_rows"]

SPLITS = ("random", "time")


@dataclass(frozen=True)
class Rows:
    """Row numbers of the three splits: int64, together every row once."""

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


def check_integer(name: str, value: int, low: int, high: int | None = None) -> None:
    """Refuse an option that is not an integer in its range.

    Raises
    ------
    DataError
        If `value` is not an integer (a bool is not), or not in [`low`, `high`].
    """
    wrong_type = isinstance(value, bool) or not isinstance(value, int)
    if wrong_type or value < low or (high is not None and value > high):
        allowed = f"from {low} to {high:,}" if high is not None else f"of {low} or more"
        raise DataError(f"{name} is {value!r}", f"give an integer {allowed}")


def check_split(split: str, split_seed: int) -> None:
    """Refuse an unknown split before any work is done.

    Raises
    ------
    DataError
        `split` is neither random nor time, or `split_seed` is not an integer ≥ 0.
    """
    if split not in SPLITS:
        raise DataError(f"split is {split!r}", "choose split=random or split=time")
    check_integer("split_seed", split_seed, 0)


def split_rows(count: int, split: str, split_seed: int) -> Rows:
    """Cut `count` rows 80/10/10.

    Parameters
    ----------
    count
        Rows there are, for split=time sorted by time.
    split
        "random": by a permutation that `split_seed` gives; "time": the first 80% train, the next
        10% validate and the last 10% test.
    split_seed
        Of the permutation. Not the run's seed: every run sees the same splits.

    Raises
    ------
    DataError
        Fewer than 10 rows, so that a split would be empty.
    """
    if count < 10:
        raise DataError(
            f"{count} rows with a label are too few to split 80/10/10",
            "give at least 10 rows; thousands, to measure anything",
        )
    order = np.arange(count)
    if split == "random":
        order = np.random.default_rng(split_seed).permutation(count)
    train, validation, test = np.split(order, [count * 8 // 10, count * 9 // 10])
    return Rows(np.sort(train), np.sort(validation), np.sort(test))


def encode(
    frame: pl.DataFrame,
    categorical: Sequence[str],
    numeric: Sequence[str],
    label: npt.NDArray[np.float32],
    rows: Rows,
    *,
    min_count: int = 1,
    notes: Sequence[str] = (),
) -> Dataset:
    """Encode the columns of `frame`, with vocabularies and statistics of the training rows only.

    Parameters
    ----------
    frame
        The columns, of any type that polars can sort (categorical) or cast to float (numeric).
    categorical, numeric
        Which of them are features, in order.
    label
        float32, shape (rows,), a number.
    rows
        The splits.
    min_count
        A category seen fewer times than this in the training rows is unknown.

    Returns
    -------
    Dataset
        Categorical ids follow the sort order of the categories from 1; 0 is unknown: missing,
        unseen in training or rare. Numeric columns have mean 0 and standard deviation 1 over the
        training rows (a column that is constant there is 0); a missing, infinite or NaN value is
        0, the mean.

    Raises
    ------
    DataError
        A number is so far from the others that float32 cannot hold its standardized value.
    """
    schema_ids = [
        _encode_categorical(frame[name], rows.train, min_count=min_count) for name in categorical
    ]
    schema = Schema(
        categorical=tuple(categorical),
        cardinalities=tuple(cardinality for _, cardinality in schema_ids),
        numeric=tuple(numeric),
    )
    ids = np.empty((len(frame), len(categorical)), np.int32)
    for column, (values, _) in enumerate(schema_ids):
        ids[:, column] = values
    numbers = _encode_numeric([frame[name] for name in numeric], len(frame), rows.train)
    samples = Samples(ids, numbers, label)
    return Dataset.from_arrays(
        schema, samples[rows.train], samples[rows.validation], samples[rows.test], notes
    )


def _encode_categorical(
    column: pl.Series, train: npt.NDArray[np.int64], *, min_count: int
) -> tuple[npt.NDArray[np.int32], int]:
    """Ids of a column, int32 (rows,), and how many there are with the unknown one."""
    from sklearn.preprocessing import OrdinalEncoder

    # Numbers instead of strings only make the encoder fast; -1 stands for missing.
    codes = column.rank("dense").cast(int).fill_null(-1).to_numpy()[:, None]
    seen = codes[train]
    seen = seen[seen[:, 0] >= 0]
    if not len(seen):
        return np.zeros(len(codes), np.int32), 1
    encoder = OrdinalEncoder(
        dtype=np.int32,
        handle_unknown="use_encoded_value",
        unknown_value=-1,
        min_frequency=min_count if min_count > 1 else None,
    ).fit(seen)
    known = len(encoder.categories_[0])
    if min_count > 1:
        # The encoder puts all rare categories under one id, the last; here they are unknown.
        rare = encoder.infrequent_categories_[0]
        known -= 0 if rare is None else len(rare)
    ids = encoder.transform(codes)[:, 0] + 1
    return np.where(ids <= known, ids, 0).astype(np.int32), known + 1


def _encode_numeric(
    columns: Sequence[pl.Series], count: int, train: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Standardized columns, float32 (rows, columns)."""
    import polars as pl

    values = np.empty((count, len(columns)), np.float64)
    if not columns:
        return values.astype(np.float32)
    from sklearn.preprocessing import StandardScaler

    for index, column in enumerate(columns):
        values[:, index] = column.cast(pl.Float64).to_numpy()
    values[~np.isfinite(values)] = np.nan
    # A column without any training value has no statistics: it is missing everywhere. One of a
    # single value would keep no more than the rounding of its mean.
    unknown = np.isnan(values[train]).all(axis=0)
    values[:, unknown] = 0.0
    low, high = np.nanmin(values[train], axis=0), np.nanmax(values[train], axis=0)
    with np.errstate(all="ignore"):
        scaler = StandardScaler().fit(values[train])
        standard = scaler.transform(values)
        # The scaler treats a spread that is small beside the mean as rounding; here it is not.
        for index in np.flatnonzero((scaler.scale_ == 1.0) & (high > low)).tolist():
            shifted = values[:, index] - low[index]
            mean, std = np.nanmean(shifted[train]), np.nanstd(shifted[train])
            standard[:, index] = (shifted - mean) / std
        standard[:, low == high] = np.where(np.isnan(values[:, low == high]), np.nan, 0.0)
        narrow = standard.astype(np.float32)
    lost = np.argwhere(np.isfinite(values) & ~np.isfinite(narrow))
    if len(lost):
        row, column_index = lost[0]
        raise DataError(
            f"column {columns[column_index].name!r} has {values[row, column_index]:g}, too far "
            "from the training rows' values to be standardized",
            "give a smaller number, or none: the value counts as missing then",
        )
    return np.where(np.isnan(narrow), np.float32(0.0), narrow)
