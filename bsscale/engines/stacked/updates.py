"""Updates of the stacked parameters of many runs, by the rule of any optimizer.

Every run has a learning rate and a momentum of its own at every update. Whatever depends on them
and on the number of updates alone is computed beforehand (`OptimizerConfig.coefficients`); what is
left is arithmetic on tensors of shape (width, elements).

An update has two halves. `open` prepares the gradient accumulators, into which the backward pass
adds; `apply` changes the parameters.

Embedding tables can be updated only where a batch touched them (``sparse``). Untouched rows have
no gradient, so that for SGD without momentum and for Adagrad, both without weight decay, nothing
is left out: the result is the same to the bit. Momentum and Adam are *lazy*, as
``torch.optim.SparseAdam`` is (which scales ε differently): the averages of a row, and its weight
decay, stand still while it is not touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bsscale.optimizers import OptimizerConfig

__all__ = ["Updates"]


class Updates:
    """One optimizer over stacked parameters.

    Parameters
    ----------
    optimizer
        Its options and its rule. Learning rate and momentum are each run's own.
    parameters
        Tensors of shape (width, elements).
    sparse
        For each parameter tensor that is updated only where it was touched, the length of a row.
    clipped
        Whether gradients are changed between the backward pass and `apply`.

    Attributes
    ----------
    gradients
        Where the backward pass adds gradients, shaped as the parameters.
    """

    def __init__(
        self,
        optimizer: OptimizerConfig,
        parameters: Sequence[Tensor],
        sparse: Mapping[int, int],
        clipped: bool,
    ) -> None:
        self.optimizer = optimizer
        self.states = optimizer.states
        self.parameters = list(parameters)
        self.sparse = dict(sparse)
        self.state = [[torch.zeros_like(tensor) for _ in self.states] for tensor in parameters]
        into_state = optimizer.adds_gradients_to_state(clipped)
        self._into_state = [
            into_state and number not in sparse for number in range(len(parameters))
        ]
        self.gradients = [
            state[0] if into else torch.zeros_like(tensor)
            for tensor, state, into in zip(parameters, self.state, self._into_state, strict=True)
        ]

    def open(self, c: Tensor) -> None:
        """Prepare the accumulators; `c` are the update's coefficients, (coefficients, width)."""
        columns = list(c.unsqueeze(-1))
        for number, gradient in enumerate(self.gradients):
            if self._into_state[number]:
                self.optimizer.open_state(gradient, columns)
            elif number not in self.sparse:
                gradient.zero_()

    def apply(self, c: Tensor, touched: Mapping[int, Tensor]) -> None:
        """Update the parameters.

        Parameters
        ----------
        c
            As `open`.
        touched
            For each sparse parameter tensor, the rows that the batch touched, numbered through
            all runs, shape (width x rows a run,); repetitions are fine.
        """
        columns = list(c.unsqueeze(-1))
        for number, value in enumerate(self.parameters):
            if number in self.sparse:
                self._apply_to_rows(number, touched[number], c)
            else:
                gradient, state = self.gradients[number], self.state[number]
                self.optimizer.update(value, gradient, state, columns)

    def _apply_to_rows(self, number: int, rows: Tensor, c: Tensor) -> None:
        """The same rule on the touched rows. Rows that repeat are written twice, alike."""
        length = self.sparse[number]
        tables = [
            tensor.view(-1, length)
            for tensor in (self.parameters[number], self.gradients[number], *self.state[number])
        ]
        value, gradient, *state = (table.index_select(0, rows) for table in tables)
        width = c.shape[1]
        columns = [
            column.unsqueeze(1).expand(width, len(rows) // width).reshape(-1, 1) for column in c
        ]
        self.optimizer.update(value, gradient, state, columns)
        for table, new in zip([tables[0], *tables[2:]], [value, *state], strict=True):
            table.index_copy_(0, rows, new)
        tables[1].index_fill_(0, rows, 0.0)

    def clear(self, slot: int) -> None:
        """Forget a slot's state."""
        for state, gradient in zip(self.state, self.gradients, strict=True):
            for tensor in (*state, gradient):
                tensor[slot].zero_()
