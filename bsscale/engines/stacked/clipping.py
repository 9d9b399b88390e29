"""Gradient clipping of many runs at once, each by the norm of its own gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bsscale.engines.stacked.row_gradients import RowSums

__all__ = ["GradientClipping"]


class GradientClipping:
    """``torch.nn.utils.clip_grad_norm_`` for every run of a stack.

    g ← g·min(1, max_norm / (‖g‖₂ + 1e-6)), where ‖g‖₂ is over all parameters of the run. A norm
    that is not finite makes the gradient so, as in torch.

    Parameters
    ----------
    gradients
        Tensors of shape (width, elements), None for one that has the gradients of touched rows
        only; together all parameters.
    max_norm
        The largest norm that is left alone.
    width
        Runs in the stack.
    tables
        For each gradient of a large embedding table, the length of a row: only touched rows are
        read and scaled. Whether the update is sparse makes no difference, so that both forms stay
        the same to the bit.
    """

    def __init__(
        self,
        gradients: Sequence[Tensor | None],
        max_norm: float,
        width: int,
        tables: Mapping[int, int],
    ) -> None:
        self._gradients, self._max_norm, self._width = list(gradients), max_norm, width
        self._tables = {
            number: gradient.view(-1, tables[number])
            for number, gradient in enumerate(gradients)
            if gradient is not None and number in tables
        }
        # How often the batch has each row of each table; zero between updates.
        self._counts = {
            number: torch.zeros_like(table[:, 0]) for number, table in self._tables.items()
        }

    def clip(self, touched: Mapping[int, Tensor], sparse: Mapping[int, RowSums]) -> None:
        """Scale the gradients in place.

        Parameters
        ----------
        touched
            For each large table, the rows of the batch, numbered through all runs, shape
            (width x rows a run,); repetitions are fine.
        sparse
            For each tensor without a gradient here, those of touched rows.
        """
        of_rows = {number: (table, touched[number]) for number, table in self._tables.items()}
        of_rows |= {number: (each.sums, each.places) for number, each in sparse.items()}
        norms = [
            torch.linalg.vector_norm(gradient, dim=1)
            if gradient is not None and number not in of_rows
            else self._norm_of_rows(number, *of_rows[number])
            for number, gradient in enumerate(self._gradients)
        ]
        together = torch.stack(norms)
        if together.shape[1] == 1:  # (one column would be added in another order than several)
            together = together.repeat(1, 2)
        norm = torch.linalg.vector_norm(together, dim=0)[: len(norms[0])]
        scale = (self._max_norm / (norm + 1e-6)).clamp(max=1.0).unsqueeze(1)
        for number, gradient in enumerate(self._gradients):
            if gradient is not None and number not in of_rows:
                gradient.mul_(scale)
            else:
                self._scale_rows(*of_rows[number], scale)

    def _norm_of_rows(self, number: int, table: Tensor, rows: Tensor) -> Tensor:
        """Each run's norm, shape (width,): a row that occurs n times counts 1/n each time."""
        counts = self._counts[number] if number in self._counts else torch.zeros_like(table[:, 0])
        counts.index_add_(0, rows, torch.ones_like(rows, dtype=counts.dtype))
        share = counts.index_select(0, rows).sqrt_().unsqueeze(1)
        counts.index_fill_(0, rows, 0.0)
        parts = table.index_select(0, rows).div_(share)
        norm: Tensor = torch.linalg.vector_norm(parts.view(self._width, -1), dim=1)
        return norm

    def _scale_rows(self, table: Tensor, rows: Tensor, scale: Tensor) -> None:
        """Repeated rows are written several times, with the same value."""
        parts = table.index_select(0, rows).view(len(scale), -1).mul_(scale)
        table.index_copy_(0, rows, parts.view(len(rows), -1))
