"""The average of the weights of any module, beside its training."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from bsscale.optimizers.averaging import WeightAverage

__all__ = ["AveragedWeights"]


class AveragedWeights:
    """The averages of a module's parameters; they begin as copies. Buffers are not averaged.

    Parameters
    ----------
    module
        The module.
    rule
        The rule.
    global_batch
        Samples of an update.

    Attributes
    ----------
    values
        The averages by the names of the parameters.
    """

    def __init__(self, module: nn.Module, rule: WeightAverage, global_batch: int) -> None:
        self._rule, self._global_batch = rule, global_batch
        self.values = {name: value.detach().clone() for name, value in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take the parameters after update `step` (from 0) into the averages."""
        weight = self._rule.weight(step, self._global_batch)
        for name, value in module.named_parameters():
            self.values[name].lerp_(value, weight)

    @contextmanager
    def put_into(self, module: nn.Module) -> Iterator[None]:
        """A block in which the module has the averages; afterwards it has its own tensors again."""
        own = {name: value.data for name, value in module.named_parameters()}
        try:
            for name, value in module.named_parameters():
                value.data = self.values[name]
            yield
        finally:
            for name, value in module.named_parameters():
                value.data = own[name]

    def copied_into(self, module: nn.Module) -> nn.Module:
        """A copy of the module with the averages."""
        copied = copy.deepcopy(module)
        with torch.no_grad():
            for name, value in copied.named_parameters():
                value.copy_(self.values[name])
        return copied
