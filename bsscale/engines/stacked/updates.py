"""Updates of the stacked parameters of many runs, by the rule of any optimizer.

Every run has a learning rate and a momentum of its own at every update. Whatever depends on them
and on the number of updates alone is computed beforehand (`OptimizerConfig.coefficients`); what is
left is arithmetic on tensors of shape (width, elements).

An update has two halves. `open` prepares the gradient accumulators, into which the backward pass
adds; `apply` changes the parameters.

Parameter groups (`bsscale.optimizers.groups`) have options and rates of their own. A parameter
tensor belongs to one group; the coefficients of all groups lie one after the other.

Embedding tables can be updated only where a batch touched them (``sparse``). Untouched rows have
no gradient, so SGD without momentum, and Adagrad, both without weight decay, give the same result
to the bit. Momentum and Adam are *lazy*, as ``torch.optim.SparseAdam`` is (which scales ε
differently): the averages of a row, and its weight decay, stand still while it is not touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bsscale.engines.stacked.row_gradients import RowSums
from bsscale.optimizers import OptimizerConfig
from bsscale.optimizers.optimizer import Floats, Ints

__all__ = ["Updates"]


class Updates:
    """One optimizer over stacked parameters.

    Parameters
    ----------
    optimizers
        For each parameter group its options and its rule, which is the same for all. Learning rate
        and momentum are each run's own.
    parameters
        Tensors of shape (width, elements).
    groups
        The number of the group of each parameter tensor.
    sparse
        For each parameter tensor that is updated only where it was touched, the length of a row.
    clipped
        Whether gradients are changed between the backward pass and `apply`.

    Attributes
    ----------
    gradients
        Where the backward pass adds gradients, shaped as the parameters; None for a tensor that is
        updated only where it was touched.
    """

    def __init__(
        self,
        optimizers: Sequence[OptimizerConfig],
        parameters: Sequence[Tensor],
        groups: Sequence[int],
        sparse: Mapping[int, int],
        clipped: bool,
    ) -> None:
        self.optimizers = list(optimizers)
        self.states = optimizers[0].states
        self.parameters = list(parameters)
        self._groups = list(groups)
        self.sparse = dict(sparse)
        self.state = [[torch.zeros_like(tensor) for _ in self.states] for tensor in parameters]
        into_state = [each.adds_gradients_to_state(clipped) for each in optimizers]
        self._into_state = [
            into_state[group] and number not in sparse for number, group in enumerate(groups)
        ]
        self.gradients: list[Tensor | None] = [
            self._accumulator(number, tensor) for number, tensor in enumerate(parameters)
        ]

    def _accumulator(self, number: int, parameter: Tensor) -> Tensor | None:
        if number in self.sparse:
            return None
        return self.state[number][0] if self._into_state[number] else torch.zeros_like(parameter)

    def coefficients(self, lr: Floats, momentum: Floats, step: Ints) -> Floats:
        """What some updates need (`OptimizerConfig.coefficients`), all groups' one after the other.

        Parameters
        ----------
        lr, momentum
            Of each group, shape (groups, updates, width).
        step
            Number of each update (from 0), shape (updates, width).

        Returns
        -------
        Shape (updates, groups x coefficients, width).
        """
        of_groups = [
            each.coefficients(lr[group], momentum[group], step)
            for group, each in enumerate(self.optimizers)
        ]
        return np.concatenate(of_groups, axis=1)

    def open(self, c: Tensor) -> None:
        """Prepare the accumulators; `c` are the update's coefficients, (all groups', width)."""
        columns = self._columns(c.unsqueeze(-1))
        for number, gradient in enumerate(self.gradients):
            group = self._groups[number]
            if gradient is not None and self._into_state[number]:
                self.optimizers[group].open_state(gradient, columns[group])
            elif gradient is not None:
                gradient.zero_()

    def apply(self, c: Tensor, touched: Mapping[int, RowSums]) -> None:
        """Update the parameters.

        Parameters
        ----------
        c
            As `open`.
        touched
            For each sparse parameter tensor, the rows that the batch touched, and their gradients.
        """
        columns = self._columns(c.unsqueeze(-1))
        for number, value in enumerate(self.parameters):
            group = self._groups[number]
            gradient = self.gradients[number]
            if gradient is None:
                self._apply_to_rows(number, touched[number], self._columns(c)[group])
            else:
                state = self.state[number]
                self.optimizers[group].update(value, gradient, state, columns[group])

    def _columns(self, c: Tensor) -> list[list[Tensor]]:
        """The coefficients of each group."""
        columns = list(c)
        each = len(columns) // len(self.optimizers)
        return [columns[first : first + each] for first in range(0, len(columns), each)]

    def _apply_to_rows(self, number: int, touched: RowSums, c: Sequence[Tensor]) -> None:
        """The same rule on the touched rows. Repeated rows are written several times, alike."""
        length, rows = self.sparse[number], touched.rows
        tables = [
            tensor.view(-1, length) for tensor in (self.parameters[number], *self.state[number])
        ]
        value, *state = (table.index_select(0, rows) for table in tables)
        gradient = touched.sums.index_select(0, touched.places)
        width = len(c[0])
        columns = [
            column.unsqueeze(1).expand(width, len(rows) // width).reshape(-1, 1) for column in c
        ]
        self.optimizers[self._groups[number]].update(value, gradient, state, columns)
        for table, new in zip(tables, [value, *state], strict=True):
            table.index_copy_(0, rows, new)

    def clear(self, slot: int) -> None:
        """Forget a slot's state."""
        for state, gradient in zip(self.state, self.gradients, strict=True):
            for tensor in state if gradient is None else (*state, gradient):
                tensor[slot].zero_()
