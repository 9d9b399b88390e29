"""Gradients of the rows of an embedding table that a batch touched, and of no others."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bsscale.engines.stacked.rows import add_rows

__all__ = ["RowGradients", "RowSums"]


class RowSums(NamedTuple):
    """What a batch gives the rows of a table.

    Attributes
    ----------
    rows
        The row of each occurrence, numbered through all runs, shape (n,); repetitions are fine.
    sums
        Sums of gradients, shape (n, length of a row); those without an occurrence are zero.
    places
        Where the sum of each occurrence is in `sums`, shape (n,): equal for equal rows.
    """

    rows: Tensor
    sums: Tensor
    places: Tensor


class RowGradients:
    """Adds up the gradients of equal rows without a place for the gradient of every row.

    For each row of the table, one integer says which of its occurrences in the batch has its sum.
    Only the integers of the batch's rows are ever read, after they have been written. The gradients
    of a row are added in their order in the batch, as `add_rows` adds them into a table of zeros,
    so that the sums are the same to the bit.

    Parameters
    ----------
    rows
        Of the table, through all runs.
    device
        Where it lies.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self._place = torch.empty(rows, dtype=torch.int32, device=device)

    def add(self, rows: Tensor, gradients: Tensor) -> RowSums:
        """The sums of a batch.

        Parameters
        ----------
        rows
            Shape (n,).
        gradients
            Of each occurrence, shape (n, length of a row).
        """
        numbers = torch.arange(len(rows), dtype=torch.int32, device=rows.device)
        self._place.index_copy_(0, rows, numbers)
        places = self._place.index_select(0, rows).to(torch.int64)
        sums = torch.zeros_like(gradients)
        add_rows(sums, places, gradients)
        return RowSums(rows, sums, places)
