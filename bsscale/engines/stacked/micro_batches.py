"""The gradients of several micro-batches of one run, by the layers of a stack.

Each micro-batch is treated as a run: all of them have the same weights. So one forward and one
backward pass give the gradient of each. The dense weights are few and are copied; embedding tables
are shared, and only the gradients of touched rows are kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bsscale.engines.squared_norms import Sums
from bsscale.engines.stacked.feed import Batches
from bsscale.engines.stacked.layers import StackedEmbedding, Weights
from bsscale.engines.stacked.models import stacked_model, tables
from bsscale.engines.stacked.rows import add_rows
from bsscale.engines.stacked.state import StackedParameters
from bsscale.engines.stacked.vectors import by_blocks
from bsscale.objectives import Objective
from bsscale.objectives.torch_form import error_of

__all__ = ["MicroBatches", "at_a_time"]

# Samples that are computed at a time, unless a micro-batch has more of them: what fits a cache.
_SAMPLES = 1024


def at_a_time(count: int, micro_batch: int) -> int:
    """How many of `count` micro-batches are computed at a time: a divisor of `count`."""
    most = max(1, _SAMPLES // micro_batch)
    return max(each for each in range(1, count + 1) if count % each == 0 and each <= most)


class MicroBatches:
    """Sums of the gradients of some micro-batches, and of their squares.

    Parameters
    ----------
    module
        One run's model.
    values
        The parameters of the run by their names, each of shape (1, *shape): views, which follow
        the training.
    objective
        Whose loss is minimized.
    count
        Micro-batches.
    micro_batch
        Samples of each.
    """

    def __init__(
        self,
        module: nn.Module,
        values: Mapping[str, Tensor],
        objective: Objective,
        count: int,
        micro_batch: int,
    ) -> None:
        self._values, self._error = values, error_of(objective)
        self._count, self._at_once = count, at_a_time(count, micro_batch)
        first = next(iter(values.values()))
        of_tables = tables(module)
        dense = [name for name in values if name not in of_tables]
        self._dense = StackedParameters(module, self._at_once, [dense], first.device, first.dtype)
        self._accumulators = [torch.zeros_like(tensor) for tensor in self._dense.tensors]
        self._gradients = self._dense.views(self._accumulators)
        shared = {name: values[name].expand(self._at_once, -1, -1) for name in of_tables}
        self._model = stacked_model(
            Weights({**self._dense.values, **shared}, self._gradients), module
        )

    def sums(self, batches: Batches) -> dict[str, Sums]:
        """The sums of each parameter, by its name.

        Parameters
        ----------
        batches
            Leading dimensions (count, micro_batch).
        """
        for name, value in self._dense.values.items():
            value.copy_(self._values[name].expand_as(value))
        totals = {
            name: (torch.zeros_like(value[0]), torch.zeros_like(value[0]))
            for name, value in self._gradients.items()
        }
        touched = [_TouchedRows(each, self._count) for each in self._model.embeddings]
        for start in range(0, self._count, self._at_once):
            batch = batches[start : start + self._at_once]
            for accumulator in self._accumulators:
                accumulator.zero_()
            logits = self._model.forward(batch.categorical, batch.numeric)
            samples = logits.shape[-1]
            self._model.backward(
                by_blocks(lambda a, b: self._error(a, b, samples), logits, batch.label)  # noqa: B023
            )
            for name, (gradients, squares) in totals.items():
                gradients.add_(self._gradients[name].sum(dim=0))
                squares.add_(self._gradients[name].square().sum(dim=0))
            for rows in touched:
                rows.keep(start, self._at_once)
        found = {name: Sums(*both) for name, both in totals.items()}
        return found | {rows.parameter: rows.sums() for rows in touched}


class _TouchedRows:
    """The rows of a table that the micro-batches touched, and their gradients."""

    def __init__(self, embedding: StackedEmbedding, count: int) -> None:
        self.parameter = embedding.parameter
        self._embedding, self._count = embedding, count
        self._keys: list[Tensor] = []
        self._gradients: list[Tensor] = []

    def keep(self, first: int, count: int) -> None:
        """Keep what the last backward pass left, of `count` micro-batches from `first` on."""
        rows = self._embedding.rows.view(count, -1)
        number = torch.arange(first, first + count, device=rows.device).unsqueeze(1)
        self._keys.append((rows * self._count + number).view(-1))
        self._gradients.append(self._embedding.row_gradients)

    def sums(self) -> Sums:
        """The sums over the micro-batches for each row that one of them touched."""
        # A row has one gradient in each micro-batch, which is a sum over its samples.
        keys, place = torch.unique(torch.cat(self._keys), return_inverse=True)
        values = torch.cat(self._gradients)
        each = values.new_zeros(len(keys), values.shape[1])
        add_rows(each, place, values)
        rows, place = torch.unique_consecutive(keys // self._count, return_inverse=True)
        gradients, squares = (values.new_zeros(len(rows), values.shape[1]) for _ in range(2))
        add_rows(gradients, place, each)
        add_rows(squares, place, each.square())
        return Sums(gradients, squares, rows)
