"""The losses of objectives, and their derivatives, on torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.func import grad
from torch.nn.functional import binary_cross_entropy_with_logits

from bsscale.objectives import Binary, Objective, Regression

__all__ = ["Error", "Form", "error_of", "losses_of"]

# A function of the model's outputs and the labels, of one shape, that returns that shape.
Form: TypeAlias = Callable[[Tensor, Tensor], Tensor]
# The same, given the number of samples whose mean loss it is about.
Error: TypeAlias = Callable[[Tensor, Tensor, int], Tensor]


def losses_of(objective: Objective) -> Form:
    """The function for the loss of each sample: the objective's ``losses``, or a shipped one.

    Raises
    ------
    NotImplementedError
        If the objective has no loss.
    """
    own: Form | None = getattr(objective, "losses", None)
    return _shipped(objective)[0] if own is None else own


def error_of(objective: Objective) -> Error:
    """The derivative of the mean loss over so many samples, with respect to the outputs.

    If the objective has its own method ``losses``, automatic differentiation computes it.
    """
    own: Form | None = getattr(objective, "losses", None)
    if own is None:
        return _shipped(objective)[1]

    def error(output: Tensor, label: Tensor, samples: int) -> Tensor:
        of_sum: Tensor = grad(lambda values: own(values, label).sum())(output)
        return of_sum.div_(samples)

    return error


def _binary_losses(output: Tensor, label: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(output, label, reduction="none")


def _binary_error(output: Tensor, label: Tensor, samples: int) -> Tensor:
    return torch.sigmoid(output).sub_(label).div_(samples)


def _squared_losses(output: Tensor, label: Tensor) -> Tensor:
    return (output - label).square()


def _squared_error(output: Tensor, label: Tensor, samples: int) -> Tensor:
    return (output - label).mul_(2.0 / samples)


_FORMS: dict[type[Objective], tuple[Form, Error]] = {
    Binary: (_binary_losses, _binary_error),
    Regression: (_squared_losses, _squared_error),
}


def _shipped(objective: Objective) -> tuple[Form, Error]:
    for class_ in type(objective).__mro__:
        if class_ in _FORMS:
            return _FORMS[class_]
    raise NotImplementedError(f"{type(objective).__name__} has no method losses")
