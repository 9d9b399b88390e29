"""The losses of objectives, and their derivatives, on torch tensors."""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor
from torch.func import grad
from torch.nn.functional import binary_cross_entropy_with_logits

from bsscale.objectives import Binary, Objective, Regression

__all__ = ["error", "losses"]


def losses(objective: Objective, output: Tensor, label: Tensor) -> Tensor:
    """The loss of each sample.

    Parameters
    ----------
    objective
        A shipped one, or one with a method ``losses`` of its own.
    output, label
        The model's outputs and the labels, of one shape.

    Returns
    -------
    Of the same shape.
    """
    own = getattr(objective, "losses", None)
    found: Tensor = _losses(objective, output, label) if own is None else own(output, label)
    return found


def error(objective: Objective, output: Tensor, label: Tensor) -> Tensor:
    """The derivative of the mean loss over the last dimension with respect to the outputs.

    Takes what `losses` takes. Of an objective with a method ``losses`` of its own it is computed
    by automatic differentiation.
    """
    if hasattr(objective, "losses"):
        of_sum: Tensor = grad(lambda z: losses(objective, z, label).sum())(output)
        return of_sum.div_(output.shape[-1])
    return _error(objective, output, label)


@singledispatch
def _losses(objective: Objective, output: Tensor, label: Tensor) -> Tensor:
    raise NotImplementedError(type(objective))


@_losses.register
def _(objective: Binary, output: Tensor, label: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(output, label, reduction="none")


@_losses.register
def _(objective: Regression, output: Tensor, label: Tensor) -> Tensor:
    return (output - label).square()


@singledispatch
def _error(objective: Objective, output: Tensor, label: Tensor) -> Tensor:
    raise NotImplementedError(type(objective))


@_error.register
def _(objective: Binary, output: Tensor, label: Tensor) -> Tensor:
    return torch.sigmoid(output).sub_(label).div_(output.shape[-1])


@_error.register
def _(objective: Regression, output: Tensor, label: Tensor) -> Tensor:
    return (output - label).mul_(2.0 / output.shape[-1])
