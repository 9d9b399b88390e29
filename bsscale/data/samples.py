"""Samples as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bsscale.data.verified import verify
from bsscale.errors import DataError

__all__ = ["Samples"]


@dataclass(frozen=True)
class Samples:
    """Some samples, as arrays.

    Attributes
    ----------
    categorical
        int32, shape (n, categorical fields).
    numeric
        float32, shape (n, numeric fields).
    label
        float32, shape (n,): 0 or 1 for objective=binary, a number for objective=regression.
    weight
        float32, shape (n,): how much each sample counts in the loss, ≥ 0 and 1 on average over the
        training samples; None: all alike.
    """

    categorical: npt.NDArray[np.int32]
    numeric: npt.NDArray[np.float32]
    label: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in self.arrays().items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise DataError(
                f"arrays of different lengths: {found}", "give every array one row a sample"
            )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays by name; without weights, if there are none."""
        return {name: array for name, array in vars(self).items() if array is not None}

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, rows: slice | npt.NDArray[np.intp]) -> Samples:
        """The samples at `rows`, a slice (views) or an index array (copies)."""
        if isinstance(rows, slice):
            return Samples(**{name: array[rows] for name, array in self.arrays().items()})
        self.verify(rows)
        # take is three times as fast as fancy indexing, and this is every training step.
        return Samples(**{name: array.take(rows, axis=0) for name, array in self.arrays().items()})

    def verify(self, rows: npt.NDArray[np.intp] | None = None) -> None:
        """Check samples that are about to be read, if they come from the cache (`verify`).

        Parameters
        ----------
        rows
            Their numbers, shape (n,); None: all.

        Raises
        ------
        DataError
            They have changed since they were prepared.
        """
        verify(*self.arrays().values(), rows=rows)
