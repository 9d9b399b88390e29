"""The matrix products of a step and nothing else: what no implementation can leave out."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from tests.benchmarks.bench_training.contestant import Contestant, Seconds
from tests.benchmarks.bench_training.data import DEVICE, FIELDS
from tests.benchmarks.bench_training.ours import MODEL, start

if TYPE_CHECKING:
    from torch import Tensor

SIZES = (FIELDS * MODEL["embedding_dim"], *MODEL["hidden"], 1)


class Products:
    """The products of as many runs at a time as bsscale trains, forward and backward."""

    def __init__(self, runs: int) -> None:
        self.name = f"products R={runs}"
        self.runs = runs
        self._layers: dict[int, list[tuple[Tensor, ...]]] = {}

    def measure(self, micro_batch: int, steps: int, warm_up: int) -> Seconds:
        if micro_batch not in self._layers:
            self._layers[micro_batch] = layers(micro_batch, start(micro_batch, self.runs).width)
        of_step = self._layers[micro_batch]
        turns = -(-self.runs // len(of_step[0][0]))
        multiply(of_step, warm_up)
        start_s = Seconds.now()
        multiply(of_step, steps * turns)
        return Seconds.now().since(start_s)


def layers(micro_batch: int, width: int) -> list[tuple[Tensor, ...]]:
    """For each layer x, W, x W', its gradient, and where those of x and W are put."""
    import torch

    torch.set_num_threads(1)
    return [
        (
            torch.randn(width, micro_batch, inputs, device=DEVICE),
            torch.randn(width, outputs, inputs, device=DEVICE),
            torch.empty(width, micro_batch, outputs, device=DEVICE),
            torch.randn(width, micro_batch, outputs, device=DEVICE),
            torch.empty(width, micro_batch, inputs, device=DEVICE),
            torch.empty(width, outputs, inputs, device=DEVICE),
        )
        for inputs, outputs in pairwise(SIZES)
    ]


def multiply(of_step: list[tuple[Tensor, ...]], steps: int) -> None:
    import torch

    for _ in range(steps):
        for x, weight, y, *_ in of_step:
            torch.bmm(x, weight.transpose(1, 2), out=y)
        for x, weight, _, gradient, of_x, of_weight in of_step:
            torch.bmm(gradient.transpose(1, 2), x, out=of_weight)
            torch.bmm(gradient, weight, out=of_x)


def contestants() -> list[Contestant]:
    return [Products(1), Products(15)]
