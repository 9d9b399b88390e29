"""Logistic regression."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bsscale.models.layers import FieldEmbedding

__all__ = ["Logistic"]


class Logistic(nn.Module):
    """One weight for each categorical id and each numeric field, and a bias. Starts at zero.

    Parameters
    ----------
    cardinalities
        Ids of each categorical field.
    numeric_fields
        Number of numeric fields.
    """

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__()
        self.categorical = FieldEmbedding(cardinalities, 1) if cardinalities else None
        self.numeric = nn.Parameter(torch.zeros(numeric_fields))
        self.bias = nn.Parameter(torch.zeros(()))
        if self.categorical is not None:
            nn.init.zeros_(self.categorical.table.weight)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Logits of shape (n,) from ids (n, fields) and numbers (n, numeric_fields)."""
        logit: Tensor = numeric @ self.numeric + self.bias
        if self.categorical is not None:
            logit = logit + torch.sum(self.categorical(categorical), dim=(1, 2))
        return logit
