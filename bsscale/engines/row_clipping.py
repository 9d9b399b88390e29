"""CowClip of any module: its embeddings say which rows a batch has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bsscale.optimizers.cowclip import CowClip, clipped_tables

__all__ = ["RowClipping"]


class RowClipping:
    """Clips the rows of a module's embedding tables.

    Parameters
    ----------
    module
        The module. Every forward pass in training mode is counted, from `open` on.
    rule
        The rule.

    Raises
    ------
    ConfigError
        If the module has no table to clip.
    """

    def __init__(self, module: nn.Module, rule: CowClip) -> None:
        self._rule = rule
        named = dict(module.named_parameters())
        self._tables = [named[name] for name in clipped_tables(module)]
        self._counts = [torch.zeros_like(table[:, 0]) for table in self._tables]
        places = {id(table): place for place, table in enumerate(self._tables)}
        for each in module.modules():
            if isinstance(each, nn.Embedding | nn.EmbeddingBag) and id(each.weight) in places:
                counts = self._counts[places[id(each.weight)]]
                each.register_forward_pre_hook(_counting(counts), with_kwargs=True)

    def open(self) -> None:
        """Begin to count the samples of an update."""
        for counts in self._counts:
            counts.zero_()

    @torch.no_grad()
    def clip(self, add_over_ranks: Callable[[Tensor], None]) -> None:
        """Clip the gradients of the tables.

        Parameters
        ----------
        add_over_ranks
            Adds what the other processes have counted to a tensor, in place.
        """
        for table, counts in zip(self._tables, self._counts, strict=True):
            add_over_ranks(counts)
            if table.grad is not None:
                self._rule.clip(table.grad, table, counts)


def _counting(counts: Tensor) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
    """A hook of an embedding that counts the rows that it is asked for."""

    def count(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        if module.training:
            rows = (given[0] if given else named["input"]).detach().reshape(-1)
            counts.index_add_(0, rows, torch.ones_like(rows, dtype=counts.dtype))

    return count
