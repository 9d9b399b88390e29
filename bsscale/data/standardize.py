"""Numbers with mean 0 and standard deviation 1 over the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bsscale.errors import DataError

__all__ = ["Numbers", "standardize", "standardize_columns"]

# Rows that are summed together: they fit in a cache.
_ROWS = 1 << 14


@dataclass(frozen=True)
class Numbers:
    """A numeric column, the training rows first.

    Attributes
    ----------
    values
        float64: the value of each row, or, with `places`, its distinct values and a last one for
        rows without a value; NaN or infinite is missing.
    places
        int32, shape (rows,): the position in `values`; −1 is the last one.
    """

    values: npt.NDArray[np.float64]
    places: npt.NDArray[np.int32] | None = None

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.values if self.places is None else self.places)

    def of_rows(self, converted: npt.NDArray[np.float64], start: int, stop: int) -> _Floats:
        """What `values` were converted to, for the rows start … stop − 1."""
        if self.places is None:
            return converted[start:stop]
        return converted.take(self.places[start:stop])

    def present(self, training: int) -> int:
        """How many training rows have a value."""
        missing = np.isnan(self.values)
        rows = missing if self.places is None else missing.take(self.places[:training])
        return training - int(np.count_nonzero(rows[:training]))

    def of_training(self, training: int) -> _Floats:
        """The values that are not missing of the training rows, each at least once."""
        if self.places is None:
            seen = self.values[:training]
        else:
            is_seen = np.zeros(len(self.values), np.bool_)
            is_seen[self.places[:training]] = True
            seen = self.values[is_seen]
        return seen[~np.isnan(seen)]


_Floats = npt.NDArray[np.float64]


def standardize(values: _Floats, names: Sequence[str], training: int) -> npt.NDArray[np.float32]:
    """As `standardize_columns`, for a matrix of shape (rows, columns)."""
    columns = [Numbers(np.ascontiguousarray(column)) for column in values.T]
    standard = standardize_columns(columns, names, training)
    empty = np.empty((len(values), 0), np.float32)
    return np.column_stack(standard) if standard else empty


def standardize_columns(
    columns: Sequence[Numbers], names: Sequence[str], training: int
) -> list[npt.NDArray[np.float32]]:
    """Columns with mean 0 and standard deviation 1 over the training rows.

    To the bit, they are those of scikit-learn's `StandardScaler`, which adds the rows of two or
    more columns one after the other, and those of a column alone in another order. So columns may
    be given in groups, of two or more, if there are two or more.

    Parameters
    ----------
    columns
        Of equal length.
    names
        Their names, for messages.
    training
        How many rows are training rows.

    Returns
    -------
    float32, shape (rows,), for each column. A column that is constant over the training rows is 0;
    a missing, infinite or NaN value is 0, the mean.

    Raises
    ------
    DataError
        A number is so far from the others that float32 cannot hold its standardized value.
    """
    if not columns:
        return []
    known = [_with_nan(column) for column in columns]
    # A column without any training value has no statistics: it is missing everywhere. One of a
    # single value would keep no more than the rounding of its mean.
    present = [column.of_training(training) for column in known]
    low = np.array([each.min(initial=np.inf) for each in present])
    high = np.array([each.max(initial=-np.inf) for each in present])
    with np.errstate(all="ignore"):
        mean, scale = _mean_and_scale(known, training)
        standard = []
        for index, column in enumerate(known):
            if not low[index] < high[index]:
                standard.append(np.zeros(len(column.values), np.float32))
                continue
            # The scaler treats a spread that is small beside the mean as rounding; here it is not.
            if scale[index] == 1.0:
                shifted = column.values - low[index]
                rows = column.of_rows(shifted, 0, training)
                table = (shifted - np.nanmean(rows)) / np.nanstd(rows)
            else:
                table = (column.values - mean[index]) / scale[index]
            standard.append(table.astype(np.float32))
    _refuse_lost(known, standard, names)
    return [
        narrow if column.places is None else narrow.take(column.places)
        for column, narrow in zip(
            known,
            (np.where(np.isnan(each), np.float32(0.0), each) for each in standard),
            strict=True,
        )
    ]


def _with_nan(column: Numbers) -> Numbers:
    values = np.where(np.isfinite(column.values), column.values, np.nan)
    return Numbers(values, column.places)


def _mean_and_scale(columns: Sequence[Numbers], training: int) -> tuple[_Floats, _Floats]:
    """The mean and the standard deviation of each column; a deviation of 0, but for rounding, is 1.

    Source: Chan, Golub and LeVeque, "Algorithms for computing the sample variance" (1983), the
    corrected two-pass algorithm, as in scikit-learn's `_incremental_mean_and_var`.
    """
    values = [column.values for column in columns]
    total = _sums(columns, values, training)
    count = np.array([column.present(training) for column in columns], np.float64)
    mean = total / count
    deviations = [v - m for v, m in zip(values, mean, strict=True)]
    correction = _sums(columns, deviations, training)
    squares = _sums(columns, [each * each for each in deviations], training)
    variance = (squares - correction**2 / count) / count
    epsilon = np.finfo(np.float64).eps
    is_constant = variance <= count * epsilon * variance + (count * mean * epsilon) ** 2
    return mean, np.where(is_constant, 1.0, np.sqrt(variance))


def _sums(columns: Sequence[Numbers], converted: Sequence[_Floats], training: int) -> _Floats:
    """The sums of what the values were converted to over the training rows; NaN counts as 0."""
    filled = [np.where(np.isnan(each), 0.0, each) for each in converted]
    step = _ROWS if len(columns) > 1 else training
    # (row 0 is the sum of the rows before)
    block = np.empty((step + 1, len(columns)))
    total = np.zeros(len(columns))
    for start in range(0, training, step):
        stop = min(start + step, training)
        for index, (column, table) in enumerate(zip(columns, filled, strict=True)):
            block[1 : stop - start + 1, index] = column.of_rows(table, start, stop)
        block[0] = total
        total = np.sum(block[0 if start else 1 : stop - start + 1], axis=0)
    return total


def _refuse_lost(
    columns: Sequence[Numbers], standard: Sequence[npt.NDArray[np.float32]], names: Sequence[str]
) -> None:
    """Raise DataError for a number that has no standardized value."""
    found = []
    for index, (column, narrow) in enumerate(zip(columns, standard, strict=True)):
        is_lost = np.isfinite(column.values) & ~np.isfinite(narrow)
        if is_lost.any():
            rows = is_lost if column.places is None else is_lost.take(column.places)
            found += [(int(row), index) for row in np.flatnonzero(rows)[:1]]
    if found:
        row, index = min(found)
        value = columns[index].of_rows(columns[index].values, row, row + 1)[0]
        raise DataError(
            f"column {names[index]!r} has {value:g}, too far "
            "from the training rows' values to be standardized",
            "give a smaller number, or none: the value counts as missing then",
        )
