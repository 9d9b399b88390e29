"""Custom models, most of which cannot be stacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bsscale.models import MLP, Logistic


def custom(module: type[nn.Module]) -> dict[str, Any]:
    """The model's configuration."""
    return {"_target_": f"{__name__}.{module.__name__}", "name": "custom"}


class Tied(nn.Module):
    """One matrix used twice, and parameters of no and of one dimension."""

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__()
        self.first = nn.Linear(numeric_fields, numeric_fields)
        self.second = nn.Linear(numeric_fields, numeric_fields, bias=False)
        self.second.weight = self.first.weight
        self.table = nn.Embedding(max(cardinalities), 1)
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        hidden = self.second(torch.tanh(self.first(numeric)))
        logit: Tensor = self.scale * hidden.sum(dim=1) + self.table(categorical).sum(dim=(1, 2))
        return logit


class Wrapped(nn.Module):
    """A small model to be made difficult."""

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__()
        self.inner = MLP(cardinalities, numeric_fields, embedding_dim=2, hidden=[4])

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        logit: Tensor = self.inner(categorical, numeric)
        return logit


class WithBatchNorm(Wrapped):
    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields)
        self.norm = nn.BatchNorm1d(numeric_fields)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        return super().forward(categorical, self.norm(numeric))


class WithDropout(Wrapped):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        return super().forward(categorical, nn.functional.dropout(numeric, training=self.training))


class WithControlFlow(Wrapped):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        if numeric.sum() > 0:
            numeric = -numeric
        return super().forward(categorical, numeric)


class WithACountingBuffer(Wrapped):
    calls: Tensor

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(categorical, numeric / self.calls)


class WithANewBuffer(WithACountingBuffer):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return Wrapped.forward(self, categorical, numeric / self.calls)


class WithARandomBuffer(Wrapped):
    projection: Tensor

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields)
        self.register_buffer("projection", torch.randn(numeric_fields, numeric_fields))

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        return super().forward(categorical, numeric @ self.projection)


class WithFrozenParameters(Wrapped):
    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields)
        self.inner.top[0].weight.requires_grad_(False)


class WithAGraphBreak(Wrapped):
    """vmap takes it, torch.compile does not."""

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return super().forward(categorical, numeric)


class BrokenOnRank1(Logistic):
    """A model whose gradient is not finite on one rank, after a while."""

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        logits = super().forward(categorical, numeric)
        self.seen = getattr(self, "seen", 0) + self.training
        broken = torch.distributed.get_rank() == 1 and self.seen > 100
        return logits * torch.nan if broken and self.training else logits
