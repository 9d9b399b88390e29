"""CowClip of many runs at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bsscale.engines.stacked.row_gradients import RowSums
from bsscale.optimizers.cowclip import CowClip

__all__ = ["RowClipping"]


class RowClipping:
    """CowClip for every run of a stack; it reads touched rows only, as only these have gradients.

    Parameters
    ----------
    rule
        The rule.
    tables
        The tables to clip, by the number of their tensor, shape (rows of all runs, length of one).
    gradients
        Their gradients, shaped as they are, where there is a place for those of all rows.
    """

    def __init__(
        self, rule: CowClip, tables: Mapping[int, Tensor], gradients: Mapping[int, Tensor]
    ) -> None:
        self._rule, self._tables, self._gradients = rule, dict(tables), dict(gradients)
        # How often the batch has each row; zero between updates.
        self._counts = {
            number: torch.zeros_like(gradient[:, 0]) for number, gradient in gradients.items()
        }

    def clip(self, touched: Mapping[int, Tensor], sparse: Mapping[int, RowSums]) -> None:
        """Clip the gradients in place; see `GradientClipping.clip`."""
        for number, table in self._tables.items():
            if number in sparse:
                self._clip_sums(table, sparse[number])
            else:
                self._clip_rows(number, table, touched[number])

    def _clip_sums(self, table: Tensor, of_rows: RowSums) -> None:
        """The sum at each place is that of the row which is at this place of the batch."""
        counts = torch.zeros_like(of_rows.sums[:, 0])
        counts.index_add_(0, of_rows.places, torch.ones_like(counts))
        self._rule.clip(of_rows.sums, table.index_select(0, of_rows.rows), counts)

    def _clip_rows(self, number: int, table: Tensor, rows: Tensor) -> None:
        """Repeated rows are written several times, with the same value."""
        gradient, counts = self._gradients[number], self._counts[number]
        counts.index_add_(0, rows, torch.ones_like(rows, dtype=counts.dtype))
        of_rows = gradient.index_select(0, rows)
        self._rule.clip(of_rows, table.index_select(0, rows), counts.index_select(0, rows))
        gradient.index_copy_(0, rows, of_rows)
        counts.index_fill_(0, rows, 0.0)
