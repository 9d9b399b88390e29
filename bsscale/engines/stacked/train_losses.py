"""Training losses of many runs, summed until the loop asks for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["TrainLosses"]

# Calls of `add` after which the device is waited for, so that memory does not grow for ever.
_MOST_PENDING = 64


class TrainLosses:
    """For each run the sum of its mean training losses.

    The losses are added one by one, on the host. So the sum does not depend on how the updates
    were divided into calls of `advance`, which depends on the evaluations of all runs. A device
    would add them in an order that depends on their number.

    Parameters
    ----------
    width
        Runs.
    """

    def __init__(self, width: int) -> None:
        self._sums = np.zeros(width)
        self._pending: list[Tensor] = []

    def add(self, means: Tensor) -> None:
        """Add the losses of some updates, float64, shape (updates, width)."""
        self._pending.append(means)
        if len(self._pending) >= _MOST_PENDING:
            self._settle()

    def __getitem__(self, run: int) -> float:
        self._settle()
        return float(self._sums[run])

    def __setitem__(self, run: int, total: float) -> None:
        self._settle()
        self._sums[run] = total

    def _settle(self) -> None:
        if not self._pending:
            return
        losses = torch.cat(self._pending).cpu().numpy()
        self._pending.clear()
        # (accumulate adds in order; sum does not)
        self._sums = np.add.accumulate(np.concatenate([self._sums[np.newaxis], losses]))[-1]
