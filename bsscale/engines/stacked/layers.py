"""Layers of many runs at once, each with its own backward pass.

Activations are of shape (width, batch, …) and parameters of shape (width, …). A layer's `backward`
takes the gradient of the loss with respect to its output, *adds* those with respect to its
parameters to the accumulators, and returns that with respect to its input. It may be called once
after each `forward`. Written out because autograd costs more than the arithmetic at the sizes
where studies are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bsscale.engines.stacked.products import add_product, baddbmm, bmm
from bsscale.engines.stacked.rows import add_rows
from bsscale.models.layers import FieldEmbedding

__all__ = ["Linear", "StackedEmbedding", "Tower", "Weights", "cat"]


@dataclass(frozen=True)
class Weights:
    """Where a stacked model finds its parameters and puts their gradients, by parameter name.

    A table may be one that all runs share (`torch.Tensor.expand`), and have no gradients here: then
    its layer keeps those of the rows of the last batch.
    """

    values: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]


class Linear:
    """y = x Wᵀ + b, with a ReLU after it where asked for; without b if there is none."""

    def __init__(self, weights: Weights, name: str, relu: bool) -> None:
        self._weight = weights.values[f"{name}.weight"]
        self._weight_t = self._weight.transpose(1, 2)
        bias = weights.values.get(f"{name}.bias")
        self._bias = None if bias is None else bias.unsqueeze(1)
        self._weight_gradient = weights.gradients[f"{name}.weight"]
        self._bias_gradient = weights.gradients.get(f"{name}.bias")
        self._relu = relu
        # Only one run on a CPU needs the products of `products`, and only where a side is 1. They
        # look for that themselves, but at each product, which takes time.
        self._one_run = len(self._weight) == 1 and not self._weight.is_cuda
        self._thin = self._one_run and 1 in self._weight.shape[1:]
        # (of one output, on CUDA: see `bmm`)
        self._outer = self._weight.is_cuda and self._weight.shape[1] == 1

    def forward(self, x: Tensor) -> Tensor:
        """(width, batch, inputs) to (width, batch, outputs)."""
        self._x = x
        self._narrow = self._thin or (self._one_run and x.shape[1] == 1)
        if self._bias is None:
            self._y = bmm(x, self._weight_t)
        elif self._narrow:
            self._y = baddbmm(self._bias, x, self._weight_t)
        else:
            self._y = torch.baddbmm(self._bias, x, self._weight_t)
        return self._y.relu_() if self._relu else self._y

    def backward(self, gradient: Tensor, input_needed: bool = True) -> Tensor:
        """The gradient with respect to x; what comes back is meaningless if it is not needed.

        With a ReLU, `gradient` is overwritten: a new tensor of that size would take time.
        """
        if self._relu:
            torch.ops.aten.threshold_backward.grad_input(gradient, self._y, 0, grad_input=gradient)
        if self._bias_gradient is not None:
            self._bias_gradient.add_(gradient.sum(1))
        if self._narrow:
            add_product(self._weight_gradient, gradient.transpose(1, 2), self._x)
            return bmm(gradient, self._weight) if input_needed else gradient
        self._weight_gradient.baddbmm_(gradient.transpose(1, 2), self._x)
        if self._outer:
            return bmm(gradient, self._weight) if input_needed else gradient
        return torch.bmm(gradient, self._weight) if input_needed else gradient


class Tower:
    """What `bsscale.models.layers.mlp` builds: linear layers with ReLU between them."""

    def __init__(self, weights: Weights, name: str, module: nn.Sequential) -> None:
        layers = list(module)
        self._layers = [
            Linear(weights, f"{name}.{number}", relu=isinstance(following, nn.ReLU))
            for number, (layer, following) in enumerate(
                zip(layers, [*layers[1:], None], strict=True)
            )
            if isinstance(layer, nn.Linear)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """(width, batch, inputs) to (width, batch, outputs)."""
        for layer in self._layers:
            x = layer.forward(x)
        return x

    def backward(self, gradient: Tensor, input_needed: bool = True) -> Tensor:
        """The gradient with respect to x."""
        for layer in reversed(self._layers[1:]):
            gradient = layer.backward(gradient)
        return self._layers[0].backward(gradient, input_needed)


class StackedEmbedding:
    """`FieldEmbedding` of many runs; all their tables are one, run after run.

    Attributes
    ----------
    table_rows
        Rows of the table of one run.
    rows
        The rows of the last batch in that one table, shape (width x batch x fields,).
    row_gradients
        The gradients of these rows, shape (width x batch x fields, embedding_dim), if there is no
        place for those of the table.
    """

    rows: Tensor
    row_gradients: Tensor

    def __init__(self, weights: Weights, name: str, module: FieldEmbedding) -> None:
        self.parameter = f"{name}.table.weight"
        table = weights.values[self.parameter]
        width, rows, self._dim = table.shape
        self.table_rows = rows
        shared = width > 1 and table.stride(0) == 0
        self._table = table[0] if shared else table.view(-1, self._dim)
        gradient = weights.gradients.get(self.parameter)
        self._gradient = None if gradient is None else gradient.view(-1, self._dim)
        first = torch.arange(width, device=table.device).unsqueeze(1) * (0 if shared else rows)
        self._offsets = (first + module.offsets.to(table.device)).unsqueeze(1)

    def forward(self, categorical: Tensor) -> Tensor:
        """Ids of shape (width, batch, fields) to (width, batch, fields, embedding_dim)."""
        rows = categorical + self._offsets
        self.rows = rows.view(-1)
        return self._table.index_select(0, self.rows).view(*rows.shape, self._dim)

    def backward(self, gradient: Tensor) -> None:
        """Add the gradients of the rows; of shape (width, batch, fields, embedding_dim)."""
        rows = gradient.reshape(-1, self._dim)
        if self._gradient is None:
            self.row_gradients = rows
        else:
            add_rows(self._gradient, self.rows, rows)


def cat(parts: Sequence[Tensor]) -> Tensor:
    """Features side by side."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=-1)
