"""The shipped models as stacked layers: the same functions, forward and backward, of many runs."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from bsscale.engines.stacked.layers import StackedEmbedding, Tower, Weights, cat
from bsscale.engines.stacked.products import add_product, baddbmm, bmm
from bsscale.models import DCNV2, DLRM, MLP, DeepFM, Logistic

__all__ = ["StackedModel", "stacked_model", "tables"]


class StackedModel(ABC):
    """One model of many runs.

    Attributes
    ----------
    embeddings
        Its embeddings, for updates of the touched rows only.
    """

    embeddings: list[StackedEmbedding]

    @abstractmethod
    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Logits of shape (width, batch) from (width, batch, fields) ids and numbers."""

    @abstractmethod
    def backward(self, gradient: Tensor) -> None:
        """Add the gradients of all parameters, given that of the logits, (width, batch)."""


class StackedMLP(StackedModel):
    """`bsscale.models.MLP`."""

    def __init__(self, weights: Weights, module: MLP) -> None:
        self.embeddings = (
            []
            if module.embedding is None
            else [StackedEmbedding(weights, "embedding", module.embedding)]
        )
        self._top = Tower(weights, "top", module.top)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        features = [numeric] if numeric.shape[-1] else []
        for embedding in self.embeddings:
            vectors = embedding.forward(categorical)
            self._shape = vectors.shape
            features.insert(0, vectors.flatten(2))
        return self._top.forward(cat(features)).squeeze(-1)

    def backward(self, gradient: Tensor) -> None:
        of_input = self._top.backward(gradient.unsqueeze(-1), bool(self.embeddings))
        for embedding in self.embeddings:
            embedded = self._shape[2] * self._shape[3]
            embedding.backward(of_input[..., :embedded].view(self._shape))


class StackedLogistic(StackedModel):
    """`bsscale.models.Logistic`, or the part of that kind in a larger model."""

    def __init__(self, weights: Weights, module: Logistic, prefix: str = "") -> None:
        self.embeddings = (
            []
            if module.categorical is None
            else [StackedEmbedding(weights, f"{prefix}categorical", module.categorical)]
        )
        self._weight = weights.values[f"{prefix}numeric"].unsqueeze(-1)
        self._bias = weights.values[f"{prefix}bias"].view(-1, 1, 1)
        self._weight_gradient = weights.gradients[f"{prefix}numeric"].unsqueeze(-1)
        self._bias_gradient = weights.gradients[f"{prefix}bias"]

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        self._numeric = numeric
        logit = baddbmm(self._bias, numeric, self._weight).squeeze(-1)
        for embedding in self.embeddings:
            weights = embedding.forward(categorical)
            self._shape = weights.shape
            logit = logit + weights.sum(dim=(2, 3))
        return logit

    def backward(self, gradient: Tensor) -> None:
        add_product(self._weight_gradient, self._numeric.transpose(1, 2), gradient.unsqueeze(-1))
        self._bias_gradient.add_(gradient.sum(1))
        for embedding in self.embeddings:
            embedding.backward(gradient[..., None, None].expand(self._shape))


class StackedDeepFM(StackedModel):
    """`bsscale.models.DeepFM`."""

    def __init__(self, weights: Weights, module: DeepFM) -> None:
        self._first_order = StackedLogistic(weights, module.first_order, "first_order.")
        self._embedding = StackedEmbedding(weights, "embedding", module.embedding)
        self._deep = Tower(weights, "deep", module.deep)
        self.embeddings = [*self._first_order.embeddings, self._embedding]

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        vectors = self._embedding.forward(categorical)
        self._vectors, self._sum = vectors, vectors.sum(dim=2)
        second_order = 0.5 * (self._sum.square() - vectors.square().sum(dim=2)).sum(dim=2)
        deep = self._deep.forward(cat([vectors.flatten(2), numeric])).squeeze(-1)
        return self._first_order.forward(categorical, numeric) + second_order + deep

    def backward(self, gradient: Tensor) -> None:
        self._first_order.backward(gradient)
        of_deep = self._deep.backward(gradient.unsqueeze(-1))
        embedded = self._vectors.shape[2] * self._vectors.shape[3]
        # The derivative of ½(‖Σv‖² − Σ‖v‖²) with respect to one v is Σv − v.
        others = self._sum.unsqueeze(2) - self._vectors
        others.mul_(gradient[..., None, None])
        of_vectors = of_deep[..., :embedded].view(self._vectors.shape)
        self._embedding.backward(others.add_(of_vectors))


class StackedDLRM(StackedModel):
    """`bsscale.models.DLRM`."""

    def __init__(self, weights: Weights, module: DLRM) -> None:
        embedding = StackedEmbedding(weights, "embedding", module.embedding)
        self.embeddings = [embedding]
        self._embedding = embedding
        self._bottom = None if module.bottom is None else Tower(weights, "bottom", module.bottom)
        self._top = Tower(weights, "top", module.top)
        device = next(iter(weights.values.values())).device
        self._pairs = module.pairs.to(device)
        vectors = len(module.embedding.offsets) + (module.bottom is not None)
        rows, columns = self._pairs // vectors, self._pairs % vectors
        self._mirrored = columns * vectors + rows

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        vectors = self._embedding.forward(categorical)
        if self._bottom is not None:
            dense = self._bottom.forward(numeric)
            vectors = torch.cat([dense.unsqueeze(2), vectors], dim=2)
        self._shape = vectors.shape
        self._vectors = vectors.flatten(0, 1)
        dots = bmm(self._vectors, self._vectors.transpose(1, 2))
        features = dots.flatten(1).index_select(1, self._pairs).view(*self._shape[:2], -1)
        if self._bottom is not None:
            features = torch.cat([dense, features], dim=2)
        return self._top.forward(features).squeeze(-1)

    def backward(self, gradient: Tensor) -> None:
        of_features = self._top.backward(gradient.unsqueeze(-1))
        _, _, vectors, dim = self._shape
        of_pairs = of_features[..., -len(self._pairs) :].flatten(0, 1)
        # The matrix of dot products is symmetric: each pair's gradient stands in it twice.
        of_dots = of_pairs.new_zeros(len(of_pairs), vectors * vectors)
        of_dots.index_copy_(1, self._pairs, of_pairs).index_copy_(1, self._mirrored, of_pairs)
        of_vectors = bmm(of_dots.view(-1, vectors, vectors), self._vectors)
        of_vectors = of_vectors.view(self._shape)
        if self._bottom is not None:
            self._bottom.backward(of_features[..., :dim] + of_vectors[:, :, 0], False)
            of_vectors = of_vectors[:, :, 1:]
        self._embedding.backward(of_vectors)


class StackedDCNV2(StackedModel):
    """`bsscale.models.DCNV2`."""

    def __init__(self, weights: Weights, module: DCNV2) -> None:
        self.embeddings = (
            []
            if module.embedding is None
            else [StackedEmbedding(weights, "embedding", module.embedding)]
        )
        layers = [layer for layer in module.cross if isinstance(layer, nn.Sequential)]
        self._cross = [Tower(weights, f"cross.{k}", layer) for k, layer in enumerate(layers)]
        self._deep = Tower(weights, "deep", module.deep)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        features = [numeric] if numeric.shape[-1] else []
        for embedding in self.embeddings:
            vectors = embedding.forward(categorical)
            self._shape = vectors.shape
            features.insert(0, vectors.flatten(2))
        self._first = x = cat(features)
        self._factors = []
        for layer in self._cross:
            self._factors.append(layer.forward(x))
            x = self._first * self._factors[-1] + x
        return self._deep.forward(x).squeeze(-1)

    def backward(self, gradient: Tensor) -> None:
        of_x = self._deep.backward(gradient.unsqueeze(-1))
        of_first = torch.zeros_like(of_x)
        for layer, factor in zip(reversed(self._cross), reversed(self._factors), strict=True):
            of_first += of_x * factor
            of_x = of_x + layer.backward(of_x * self._first)
        of_first += of_x
        for embedding in self.embeddings:
            embedded = self._shape[2] * self._shape[3]
            embedding.backward(of_first[..., :embedded].view(self._shape))


def stacked_model(weights: Weights, module: nn.Module) -> StackedModel:
    """The stacked form of one of the shipped models."""
    # Only these exact classes: a subclass may compute something else.
    if type(module) is MLP:
        return StackedMLP(weights, module)
    if type(module) is DLRM:
        return StackedDLRM(weights, module)
    if type(module) is DeepFM:
        return StackedDeepFM(weights, module)
    if type(module) is DCNV2:
        return StackedDCNV2(weights, module)
    if type(module) is Logistic:
        return StackedLogistic(weights, module)
    raise TypeError(f"{type(module).__name__} has no stacked form")


def tables(module: nn.Module) -> list[str]:
    """Names of the embedding tables of a shipped model."""
    return [name for name, _ in module.named_parameters() if name.endswith("table.weight")]
