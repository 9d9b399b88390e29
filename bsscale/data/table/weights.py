"""Weights of rows: how much each counts in the loss."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bsscale.data.table.column import Column
from bsscale.data.table.values import as_number
from bsscale.errors import DataError

__all__ = ["as_weight", "weight_note"]

_REMEDY = "give each row a weight, a number of 0 or more, or leave such rows out"


def as_weight(
    column: Column, order: npt.NDArray[np.int64], training: int
) -> npt.NDArray[np.float32]:
    """The weights of some rows, divided by their mean over the training rows.

    Parameters
    ----------
    column
        The weights, ≥ 0.
    order
        The rows, those of training first.
    training
        How many of them train.

    Returns
    -------
    float32, shape (rows in `order`,).

    Raises
    ------
    DataError
        A weight is missing, negative or not a number, or all of the training rows are 0.
    """
    try:
        values = column.spread(as_number(column)).to_numpy()
    except DataError as error:  # (its remedies are those of a feature)
        raise DataError(f"{error.fact}; it has the weights", _REMEDY) from None
    weights: npt.NDArray[np.float64] = values[order].astype(np.float64)
    name, missing = column.name, int(np.isnan(weights).sum())
    if missing:
        raise DataError(
            f"{missing:,} of {len(weights):,} rows have no weight {name!r}",
            _REMEDY,
        )
    if (low := weights.min()) < 0:
        raise DataError(f"the weight {name!r} has the value {low:g}", "give weights of 0 or more")
    if not (mean := weights[:training].mean()) > 0:
        raise DataError(
            f"all training rows have the weight 0 ({name!r})", "give some of them another weight"
        )
    weights /= mean
    return weights.astype(np.float32)


def weight_note(name: str) -> str:
    """What weights do, in a sentence."""
    return (
        f"Rows have weights ({name!r}, divided by their mean over the training rows): in the loss, "
        "log loss and normalized entropy; AUC and accuracy count all rows alike."
    )
