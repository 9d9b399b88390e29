"""A multilayer perceptron over concatenated embeddings and numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bsscale.models.layers import FieldEmbedding, mlp

__all__ = ["MLP"]


class MLP(nn.Module):
    """Embeddings and numbers concatenated, then linear layers with ReLU.

    Parameters
    ----------
    cardinalities
        Ids of each categorical field.
    numeric_fields
        Number of numeric fields.
    embedding_dim
        Length of one embedding.
    hidden
        Widths of the hidden layers.
    embedding_init
        As `FieldEmbedding` has it: uniform or normal.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        numeric_fields: int,
        embedding_dim: int = 16,
        hidden: Sequence[int] = (64, 64),
        embedding_init: str = "uniform",
    ) -> None:
        super().__init__()
        self.embedding = (
            FieldEmbedding(cardinalities, embedding_dim, embedding_init) if cardinalities else None
        )
        self.top = mlp(len(cardinalities) * embedding_dim + numeric_fields, hidden, 1)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Logits of shape (n,) from ids (n, fields) and numbers (n, numeric_fields)."""
        features = numeric
        if self.embedding is not None:
            embeddings = self.embedding(categorical)
            features = torch.cat([embeddings.flatten(1), numeric], dim=1)
        logit: Tensor = self.top(features)
        return logit.squeeze(1)
