"""A forward and a backward pass of a copy of a module, before the training."""

from __future__ import annotations

import copy

from torch import Tensor, nn

__all__ = ["tried", "without_gradient"]


def tried(module: nn.Module, categorical: Tensor, numeric: Tensor) -> nn.Module:
    """A copy of a module with the gradients of a few samples.

    Parameters
    ----------
    module
        The module, in training mode. It is not changed; random numbers may be drawn.
    categorical, numeric
        A few samples, shapes (n, fields) and (n, numeric fields).
    """
    copied = copy.deepcopy(module)
    copied(categorical, numeric).sum().backward()
    return copied


def without_gradient(module: nn.Module) -> list[str]:
    """Names of the trained parameters that have no gradient after a backward pass."""
    return [
        name
        for name, value in module.named_parameters()
        if value.requires_grad and value.grad is None
    ]
