"""Layers that the shipped models share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bsscale.errors import ConfigError

__all__ = ["FieldEmbedding", "mlp"]


class FieldEmbedding(nn.Module):
    """The embeddings of all categorical fields in one table.

    Parameters
    ----------
    cardinalities
        Ids of each field.
    embedding_dim
        Length of one embedding.
    init
        uniform: in ±1/√cardinality of the field, as in the DLRM reference implementation (Naumov et
        al. 2019, arXiv:1906.00091); normal: standard normal, torch.nn.Embedding's own.
    """

    offsets: Tensor

    def __init__(
        self, cardinalities: Sequence[int], embedding_dim: int, init: str = "uniform"
    ) -> None:
        super().__init__()
        if init not in ("uniform", "normal"):
            raise ConfigError(
                f"model.embedding_init={init} is not one of its values", "give uniform or normal"
            )
        self.table = nn.Embedding(sum(cardinalities), embedding_dim)
        starts = [sum(cardinalities[:field]) for field in range(len(cardinalities))]
        self.register_buffer("offsets", torch.tensor(starts, dtype=torch.int32), persistent=False)
        if init == "normal":
            return
        with torch.no_grad():
            for start, cardinality in zip(starts, cardinalities, strict=True):
                bound = 1.0 / math.sqrt(cardinality)
                self.table.weight[start : start + cardinality].uniform_(-bound, bound)

    def forward(self, categorical: Tensor) -> Tensor:
        """Ids of shape (n, fields) to embeddings of shape (n, fields, embedding_dim)."""
        embeddings: Tensor = self.table(categorical + self.offsets)
        return embeddings


def mlp(inputs: int, hidden: Sequence[int], outputs: int | None = None) -> nn.Sequential:
    """Linear layers with ReLU between them, He-initialized (He et al. 2015), biases zero.

    Parameters
    ----------
    inputs
        Length of the input.
    hidden
        Width of each hidden layer; each is followed by a ReLU.
    outputs
        Width of a last layer without ReLU; None for none.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [_linear(inputs, width), nn.ReLU()]
        inputs = width
    if outputs is not None:
        layers.append(_linear(inputs, outputs))
    return nn.Sequential(*layers)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer
