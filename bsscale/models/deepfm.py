"""DeepFM: a factorization machine and an MLP over the same embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bsscale.models.layers import FieldEmbedding, mlp
from bsscale.models.logistic import Logistic

__all__ = ["DeepFM"]


class DeepFM(nn.Module):
    """First-order terms, factorized second-order terms and an MLP (Guo et al. 2017).

    The second-order term is ½(‖Σv‖² − Σ‖v‖²) over the field embeddings v (Rendle 2010); the MLP
    sees the same embeddings and the numbers (arXiv:1703.04247).

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
        if not cardinalities:
            raise ValueError(
                "DeepFM factorizes categorical fields and the data has none; "
                "use model=mlp or model=logistic"
            )
        self.first_order = Logistic(cardinalities, numeric_fields)
        self.embedding = FieldEmbedding(cardinalities, embedding_dim, embedding_init)
        self.deep = mlp(len(cardinalities) * embedding_dim + numeric_fields, hidden, 1)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Logits of shape (n,) from ids (n, fields) and numbers (n, numeric_fields)."""
        vectors = self.embedding(categorical)
        square_of_sum = vectors.sum(dim=1).square()
        sum_of_squares = vectors.square().sum(dim=1)
        second_order: Tensor = 0.5 * (square_of_sum - sum_of_squares).sum(dim=1)
        deep: Tensor = self.deep(torch.cat([vectors.flatten(1), numeric], dim=1)).squeeze(1)
        first_order: Tensor = self.first_order(categorical, numeric)
        return first_order + second_order + deep
