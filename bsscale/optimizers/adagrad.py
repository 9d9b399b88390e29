"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bsscale.errors import ConfigError
from bsscale.optimizers.optimizer import Floats, Ints, OptimizerConfig

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

__all__ = ["AdagradConfig"]


@dataclass
class AdagradConfig(OptimizerConfig):
    """torch.optim.Adagrad: s ← s + g²; θ ← θ − lr·g / (√s + ε). It has no momentum."""

    name: str = "adagrad"
    eps: float = 1e-10

    second_moment = "sum"
    search_range = (3e-3, 3.0)
    range_test_range = (1e-3, 30.0)

    @property
    def zero_gradients_change_nothing(self) -> bool:
        return self.weight_decay == 0

    def check(self) -> None:
        super().check()
        if not self.eps > 0:
            raise ConfigError(f"optimizer.eps={self.eps} is not positive", "1e-10 is common")

    def divisor(self, moment: Tensor, square: Tensor, step: int) -> Tensor:
        """√(s + g²) + ε."""
        return (moment + square).sqrt() + self.eps

    def torch_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        from torch import optim

        return optim.Adagrad(parameters, lr=0.0, eps=self.eps, weight_decay=self.weight_decay)

    @property
    def states(self) -> tuple[str, ...]:
        return ("sum",)

    def coefficients(self, lr: Floats, momentum: Floats, step: Ints) -> Floats:
        return np.stack([-lr], axis=1)

    def update(
        self, value: Tensor, gradient: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]
    ) -> None:
        import torch

        (square,) = state
        if self.weight_decay:
            gradient.add_(value, alpha=self.weight_decay)
        square.addcmul_(gradient, gradient)
        scale = square.sqrt().add_(self.eps)
        value.addcmul_(torch.div(gradient, scale, out=scale), c[0])
