"""From columns to arrays: split the rows, fit on the training rows, encode them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bsscale.data.dataset import Dataset, Samples, Schema
from bsscale.data.standardize import standardize
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "SPLITS", "Rows", "check_integer", "check_split", "count_codes", "encode",
    "encode_categories", "split_rows",
]  # fmt: skip

SPLITS = ("random", "time")


@dataclass(frozen=True)
class Rows:
    """Row numbers of the three splits: int64, together every row once."""

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """The rows of training, then those of validation, then those of test."""
        return np.concatenate([self.train, self.validation, self.test])


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


def check_split(split: str, split_seed: int, splits: Sequence[str] = SPLITS) -> None:
    """Refuse an unknown split before any work is done.

    Raises
    ------
    DataError
        `split` is not one of `splits`, or `split_seed` is not an integer ≥ 0.
    """
    if split not in splits:
        choices = " or ".join(f"split={name}" for name in splits)
        raise DataError(f"split is {split!r}", f"choose {choices}")
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
        With the ids of `encode_categories` and the numbers of `standardize`.

    Raises
    ------
    DataError
        A number is so far from the others that float32 cannot hold its standardized value.
    """
    import polars as pl

    order, training = rows.order, len(rows.train)
    ids, cardinalities = np.empty((len(order), len(categorical)), np.int32), []
    for column, name in enumerate(categorical):
        codes = frame[name].rank("dense").cast(pl.Int32).fill_null(0).to_numpy() - 1
        ids[:, column], cardinality = encode_categories(codes[order], training, min_count)
        cardinalities.append(cardinality)
    values = np.empty((len(order), len(numeric)), np.float64)
    for column, name in enumerate(numeric):
        values[:, column] = frame[name].cast(pl.Float64).to_numpy()[order]
    schema = Schema(tuple(categorical), tuple(cardinalities), tuple(numeric))
    every = Samples(ids, standardize(values, numeric, training), label[order])
    cut = training + len(rows.validation)
    return Dataset.from_arrays(schema, every[:training], every[training:cut], every[cut:], notes)


def encode_categories(
    codes: npt.NDArray[np.int32], training: int, min_count: int
) -> tuple[npt.NDArray[np.int32], int]:
    """The ids of a column, and how many there are with the unknown one.

    Parameters
    ----------
    codes
        int32, shape (rows,), the training rows first: numbers from 0 in the order of the
        categories; −1 is missing.
    training
        How many rows are training rows.
    min_count
        A category seen fewer times than this in the training rows is unknown.

    Returns
    -------
    int32, shape (rows,): ids in the order of the categories from 1; 0 is unknown: missing, unseen
    in training or rare.
    """
    highest = int(codes.max(initial=-1))
    counts = count_codes(codes[:training], highest + 1)
    known = counts >= max(min_count, 1)
    ids = np.where(known, np.cumsum(known), 0)
    # (-1 is the last element)
    return np.append(ids, 0).astype(np.int32).take(codes), int(known.sum()) + 1


def count_codes(codes: npt.NDArray[np.int32], different: int) -> npt.NDArray[np.int64]:
    """The number of rows of each code from 0 to `different` − 1, int64; −1 is missing."""
    # (one conversion, and no copy of those that are not missing)
    return np.bincount(np.add(codes, 1, dtype=np.int64), minlength=different + 1)[1:]
