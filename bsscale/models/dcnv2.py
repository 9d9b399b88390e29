"""DCN-V2: a cross network, then an MLP."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bsscale.errors import ConfigError
from bsscale.models.layers import FieldEmbedding, mlp

__all__ = ["DCNV2"]


class DCNV2(nn.Module):
    """Cross layers over embeddings and numbers, then linear layers with ReLU (Wang et al. 2021).

    With x₀ the embeddings and numbers side by side, a cross layer is x ← x₀ ⊙ (W x + b) + x: each
    adds products with one more feature. The MLP follows the cross layers, which the paper calls
    stacked (arXiv:2008.13535).

    Parameters
    ----------
    cardinalities
        Ids of each categorical field.
    numeric_fields
        Number of numeric fields.
    embedding_dim
        Length of one embedding.
    cross_layers
        How many cross layers there are, at least 1.
    cross_rank
        W is U V with so many columns of U; None: W is any matrix.
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
        cross_layers: int = 3,
        cross_rank: int | None = None,
        hidden: Sequence[int] = (64, 64),
        embedding_init: str = "uniform",
    ) -> None:
        super().__init__()
        for name, count in (("cross_layers", cross_layers), ("cross_rank", cross_rank)):
            if count is not None and count < 1:
                raise ConfigError(f"model.{name}={count} is below 1", "give 1 or more")
        self.embedding = (
            FieldEmbedding(cardinalities, embedding_dim, embedding_init) if cardinalities else None
        )
        width = len(cardinalities) * embedding_dim + numeric_fields
        if cross_rank is not None and cross_rank >= width:
            raise ConfigError(
                f"model.cross_rank={cross_rank}, and there are {width} features",
                "give a smaller rank, or model.cross_rank=null for any matrix",
            )
        self.cross = nn.ModuleList(_cross(width, cross_rank) for _ in range(cross_layers))
        self.deep = mlp(width, hidden, 1)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Logits of shape (n,) from ids (n, fields) and numbers (n, numeric_fields)."""
        first = numeric
        if self.embedding is not None:
            first = torch.cat([self.embedding(categorical).flatten(1), numeric], dim=1)
        x = first
        for layer in self.cross:
            x = first * layer(x) + x
        logit: Tensor = self.deep(x)
        return logit.squeeze(1)


def _cross(width: int, rank: int | None) -> nn.Sequential:
    """The linear part of a cross layer, Glorot-initialized, the bias zero."""
    layers = [nn.Linear(width, width)]
    if rank is not None:
        layers = [nn.Linear(width, rank, bias=False), nn.Linear(rank, width)]
    for layer in layers:
        nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layers[-1].bias)
    return nn.Sequential(*layers)
