"""Gradients of any module beside its training, by torch's autograd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bsscale.engines.squared_norms import Sums
from bsscale.models.random_states import random_states_restored

__all__ = ["GradientSums", "unchanged"]


class GradientSums:
    """Sums over micro-batches of a module's gradients, and of their squares.

    The gradients that the module has are left alone: those of a training step.

    Attributes
    ----------
    tensors
        All sums, for processes that add theirs: first of the gradients, then of the squares.
    """

    def __init__(self, module: nn.Module) -> None:
        named = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self._names, self._parameters = list(named), list(named.values())
        self.tensors = [torch.zeros_like(value) for _ in range(2) for value in self._parameters]

    def add(self, loss: Tensor, counted: bool = True) -> None:
        """Add the gradient of a loss.

        Parameters
        ----------
        loss
            A number.
        counted
            Whether it is added, or computed only.
        """
        found = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        if not counted:
            return
        number = len(found)
        with torch.no_grad():
            for place, gradient in enumerate(found):
                if gradient is not None:
                    each = gradient.to_dense() if gradient.is_sparse else gradient
                    self.tensors[place].add_(each)
                    self.tensors[number + place].addcmul_(each, each)

    def by_parameter(self) -> Iterator[tuple[str, Tensor, Sums]]:
        """The name of each parameter, the parameter, and its sums."""
        number = len(self._names)
        for place, name in enumerate(self._names):
            sums = Sums(self.tensors[place], self.tensors[number + place])
            yield name, self._parameters[place], sums


@contextmanager
def unchanged(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Restore what forward passes of a module change: its buffers, its mode and random numbers."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    training = module.training
    of_cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    try:
        with random_states_restored(), torch.enable_grad():
            yield
    finally:
        module.train(training)
        with torch.no_grad():
            for buffer, saved in buffers:
                buffer.copy_(saved)
        if of_cuda is not None:
            torch.cuda.set_rng_state(of_cuda, device)
