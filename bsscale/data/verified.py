"""Prepared arrays are checked before they are read for the first time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bsscale.errors import DataError
from bsscale.files.block_sums import DamagedError
from bsscale.files.mapped import check_pages, mapped_file

__all__ = ["verify"]


def verify(*arrays: npt.NDArray[Any], rows: npt.NDArray[np.intp] | None = None) -> None:
    """Check what is about to be read of some arrays, if it has not been checked yet.

    Parameters
    ----------
    arrays
        Arrays of the cache, or any others, about which there is nothing to check.
    rows
        The rows that are read, shape (n,); None: all.

    Raises
    ------
    DataError
        The file has changed since it was written; it is removed.
    """
    for array in arrays:
        try:
            check_pages(array, rows)
        except DamagedError as error:
            mapped = mapped_file(array)
            assert mapped is not None
            mapped.remove()
            raise DataError(
                f"the prepared data in {mapped.path} are damaged: {error}",
                "start again: the file has been removed, and the data are prepared again; if this "
                "happens again, check the disk",
            ) from error
