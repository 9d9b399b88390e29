"""The model, its optimizer and its batches, as every contestant of plain PyTorch has them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tests.benchmarks.bench_training.data import CARDINALITY, DEVICE, FIELDS, rows, with_offsets

torch.set_num_threads(1)

Batch = tuple[Tensor, Tensor]


def build_model() -> nn.Sequential:
    """From ids with offsets, of shape (n, FIELDS), to logits of shape (n,)."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Embedding(FIELDS * CARDINALITY, 8),
        nn.Flatten(),
        nn.Linear(FIELDS * 8, 128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 1),
        nn.Flatten(0),
    ).to(DEVICE)


def build_optimizer(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def tensors() -> Batch:
    """All rows: ids with offsets, and labels."""
    ids, label = rows()
    return torch.from_numpy(with_offsets(ids)).to(DEVICE), torch.from_numpy(label).to(DEVICE)


class Epoch:
    """All rows once, in a new order on each iteration, as batches taken by their index.

    Parameters
    ----------
    micro_batch
        Rows of a batch; what is left at the end is dropped.
    """

    def __init__(self, micro_batch: int) -> None:
        self.ids, self.label = tensors()
        self.micro_batch = micro_batch
        self.random = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return len(self.label) // self.micro_batch

    def __iter__(self) -> Iterator[Batch]:
        order = torch.randperm(len(self.label), generator=self.random).to(DEVICE)
        for index in order.split(self.micro_batch)[: len(self)]:
            yield self.ids[index], self.label[index]
