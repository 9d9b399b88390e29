"""The gradients of several micro-batches of one run, by the layers of a stack.

Each micro-batch is treated as a run: all of them have the same weights. So one forward and one
backward pass give the gradient of each. The dense weights are few and are copied; embedding tables
are shared, and only the gradients of touched rows are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bsscale.engines.squared_norms import Sums
from bsscale.engines.stacked.feed import Batches
from bsscale.engines.stacked.layers import StackedEmbedding, Weights
from bsscale.engines.stacked.models import stacked_model, tables
from bsscale.engines.stacked.rows import add_rows
from bsscale.engines.stacked.state import StackedParameters
from bsscale.engines.stacked.vectors import by_blocks, weighted
from bsscale.objectives import Objective
from bsscale.objectives.torch_form import error_of

__all__ = ["MicroBatches", "at_a_time"]

# Samples that are computed at a time, unless a micro-batch has more of them: what fits a cache.
_SAMPLES = 1024
# Keys of rows are marked if there are at most so many possible ones for each key.
_MARKS = 32


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
    parameters
        Of all runs, the embedding tables last, each in a tensor of its own.
    slot
        Of the run.
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
        parameters: StackedParameters,
        slot: int,
        objective: Objective,
        count: int,
        micro_batch: int,
    ) -> None:
        self._count, self._at_once = count, at_a_time(count, micro_batch)
        self._micro_batch, self._error = micro_batch, error_of(objective)
        of_tables = tables(module)
        dense = parameters.names[: len(parameters.names) - len(of_tables)]
        self._run = [tensor[slot] for tensor in parameters.tensors[: len(dense)]]
        first = parameters.tensors[0]
        copied = StackedParameters(module, self._at_once, dense, first.device, first.dtype)
        self._copies = copied.tensors
        self._gradients = [torch.zeros_like(tensor) for tensor in self._copies]
        shared = {
            name: parameters.values[name][slot : slot + 1].expand(self._at_once, -1, -1)
            for name in of_tables
        }
        values = {**copied.values, **shared}
        self._model = stacked_model(Weights(values, copied.views(self._gradients)), module)
        embeddings = {each.parameter: each for each in self._model.embeddings}
        self._embeddings = [embeddings[name] for name in of_tables]

    def sums(self, batches: Batches) -> list[Sums]:
        """The sums of each of the tensors of `parameters`.

        Parameters
        ----------
        batches
            Leading dimensions (count, micro_batch).
        """
        for copies, values in zip(self._copies, self._run, strict=True):
            copies.copy_(values.expand_as(copies))
        totals = [Sums(torch.zeros_like(run), torch.zeros_like(run)) for run in self._run]
        touched = [_TouchedRows(each, self._count) for each in self._embeddings]
        for start in range(0, self._count, self._at_once):
            batch = batches[start : start + self._at_once]
            for gradients in self._gradients:
                gradients.zero_()
            logits = self._model.forward(batch.categorical, batch.numeric)
            error = by_blocks(self._error_of_means, logits, batch.label)
            self._model.backward(weighted(error, batch.weight))
            for gradients, total in zip(self._gradients, totals, strict=True):
                total.gradients.add_(gradients.sum(dim=0))
                total.squares.add_(gradients.square().sum(dim=0))
            for rows in touched:
                rows.keep(start, self._at_once)
        return [*totals, *(rows.sums() for rows in touched)]

    def _error_of_means(self, logits: Tensor, label: Tensor) -> Tensor:
        """The derivative of the mean loss of each micro-batch."""
        return self._error(logits, label, self._micro_batch)


class _TouchedRows:
    """The rows of a table that the micro-batches touched, and their gradients."""

    def __init__(self, embedding: StackedEmbedding, count: int) -> None:
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
        keys, place = _distinct(_joined(self._keys), self._embedding.table_rows * self._count)
        values = _joined(self._gradients)
        each = values.new_zeros(len(keys), values.shape[1])
        add_rows(each, place, values)
        rows, place = torch.unique_consecutive(keys // self._count, return_inverse=True)
        gradients, squares = (values.new_zeros(len(rows), values.shape[1]) for _ in range(2))
        add_rows(gradients, place, each)
        add_rows(squares, place, each.square())
        return Sums(gradients, squares, rows)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _distinct(keys: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """`torch.unique` of keys below a limit, ascending, and where each key is in them."""
    if limit > _MARKS * len(keys):
        distinct, place = torch.unique(keys, return_inverse=True)
        return distinct, place
    # Marking the keys is several times as fast as sorting them, if there are not many others.
    marks = torch.zeros(limit, dtype=torch.int32, device=keys.device)
    marks.index_fill_(0, keys, 1)
    place = marks.cumsum(0).index_select(0, keys).sub_(1)
    return marks.nonzero().squeeze(1), place
