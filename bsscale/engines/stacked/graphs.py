"""Several updates as one CUDA graph: launching kernels singly takes longer than running them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bsscale.engines.stacked.feed import Batches

__all__ = ["GraphedUpdates"]

# Updates in one graph. Their samples and coefficients are read from tensors that are refilled.
UPDATES = 16


class GraphedUpdates:
    """Replays `UPDATES` consecutive updates.

    Parameters
    ----------
    update
        One update from its batch and its coefficients; gives the logits.
    batches, coefficients
        Examples of `UPDATES` updates, leading dimension first. They are trained on three times:
        what `update` changes has to be set afterwards.
    """

    def __init__(
        self, update: Callable[[Batches, Tensor], Tensor], batches: Batches, coefficients: Tensor
    ) -> None:
        self._batches, self._coefficients = batches, coefficients

        def updates() -> Tensor:
            return torch.stack([update(batches[k], coefficients[k]) for k in range(UPDATES)])

        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # libraries allocate their workspaces before anything is captured
                updates()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits = updates()

    def replay(self, batches: Batches, coefficients: Tensor) -> Tensor:
        """Take `UPDATES` updates; gives their logits, valid until the next replay."""
        self._batches.copy_(batches)
        self._coefficients.copy_(coefficients)
        self._graph.replay()
        return self._logits
