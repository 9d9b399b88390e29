"""The deep learning recommendation model of Naumov et al. 2019."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bsscale.models.layers import FieldEmbedding, mlp

__all__ = ["DLRM"]


class DLRM(nn.Module):
    """Bottom MLP over the numbers, pairwise dot interactions, top MLP (arXiv:1906.00091).

    The bottom MLP turns the numbers into one more embedding; the top MLP sees that embedding and
    the dot product of every pair of distinct embeddings. Without numeric fields there is no
    bottom MLP, and the top MLP sees the dot products alone.

    Parameters
    ----------
    cardinalities
        Ids of each categorical field.
    numeric_fields
        Number of numeric fields.
    embedding_dim
        Length of one embedding, and of the bottom MLP's output.
    bottom_hidden, top_hidden
        Widths of the hidden layers of the two MLPs.
    embedding_init
        As `FieldEmbedding` has it: uniform or normal.
    """

    pairs: Tensor

    def __init__(
        self,
        cardinalities: Sequence[int],
        numeric_fields: int,
        embedding_dim: int = 16,
        bottom_hidden: Sequence[int] = (64,),
        top_hidden: Sequence[int] = (64, 64),
        embedding_init: str = "uniform",
    ) -> None:
        super().__init__()
        vectors = len(cardinalities) + (numeric_fields > 0)
        if vectors < 2:
            raise ValueError(
                "DLRM needs two vectors to take a dot product of, and the data has "
                f"{len(cardinalities)} categorical and {numeric_fields} numeric fields; "
                "use model=mlp or model=logistic"
            )
        self.embedding = FieldEmbedding(cardinalities, embedding_dim, embedding_init)
        self.bottom = (
            mlp(numeric_fields, [*bottom_hidden, embedding_dim]) if numeric_fields else None
        )
        # Where each pair lies in the flattened (vectors × vectors) matrix of dot products.
        pairs = [row * vectors + column for row in range(vectors) for column in range(row)]
        self.register_buffer("pairs", torch.tensor(pairs), persistent=False)
        self.top = mlp(len(pairs) + (embedding_dim if numeric_fields else 0), top_hidden, 1)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Logits of shape (n,) from ids (n, fields) and numbers (n, numeric_fields)."""
        vectors = self.embedding(categorical)
        if self.bottom is not None:
            dense = self.bottom(numeric)
            vectors = torch.cat([dense.unsqueeze(1), vectors], dim=1)
        dots = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        # (not index_select: torch.compile 2.13 computes its gradient under vmap wrongly on CPUs)
        features = dots.gather(1, self.pairs.expand(len(dots), -1))
        if self.bottom is not None:
            features = torch.cat([dense, features], dim=1)
        logit: Tensor = self.top(features)
        return logit.squeeze(1)
