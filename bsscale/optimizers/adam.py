"""Adam, and AdamW with decoupled weight decay."""

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

__all__ = ["AdamConfig", "AdamWConfig"]


@dataclass
class AdamConfig(OptimizerConfig):
    """torch.optim.Adam (Kingma and Ba, arXiv:1412.6980).

    A schedule's momentum is beta1. As in torch, the bias correction of update t is that of its own
    beta1: 1 − beta1^t.
    """

    name: str = "adam"
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    momentum_option = "beta1"
    second_moment = "exp_avg_sq"
    search_range = (1e-4, 1e-1)
    range_test_range = (1e-5, 1.0)

    def check(self) -> None:
        super().check()
        if not 0 <= self.beta2 < 1:
            raise ConfigError(f"optimizer.beta2={self.beta2} is outside [0, 1)", "0.999 is common")
        if not self.eps > 0:
            raise ConfigError(
                f"optimizer.eps={self.eps} is not positive", f"{type(self).eps:g} is common"
            )

    def divisor(self, moment: Tensor, square: Tensor, step: int) -> Tensor:
        """√v̂ + ε, where v̂ = (β₂ v + (1 − β₂) g²) / (1 − β₂^t) at update number t from 1."""
        new = self.beta2 * moment + (1 - self.beta2) * square
        return (new / (1 - self.beta2 ** (step + 1))).sqrt() + self.eps

    def torch_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        from torch import optim

        make = optim.AdamW if self.decoupled else optim.Adam
        return make(
            parameters,
            lr=0.0,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            weight_decay=self.weight_decay,
        )

    @property
    def states(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def coefficients(self, lr: Floats, momentum: Floats, step: Ints) -> Floats:
        number = step + 1
        return np.stack(
            [
                -lr / (1 - momentum**number),
                1 - momentum,
                1 / np.sqrt(1 - self.beta2**number),
                -lr * self.weight_decay if self.decoupled else np.zeros_like(lr),
            ],
            axis=1,
        )

    def update(
        self, value: Tensor, gradient: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]
    ) -> None:
        import torch

        mean, square = state
        if self.weight_decay and self.decoupled:
            value.addcmul_(value, c[3])
        elif self.weight_decay:
            gradient.add_(value, alpha=self.weight_decay)
        mean.lerp_(gradient, c[1])
        square.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        # The gradient has been used: its memory is free for √v / √(1 − β₂^t) + ε, and m over it.
        scale = torch.sqrt(square, out=gradient).mul_(c[2]).add_(self.eps)
        value.addcmul_(torch.div(mean, scale, out=scale), c[0])


@dataclass
class AdamWConfig(AdamConfig):
    """torch.optim.AdamW (Loshchilov and Hutter, arXiv:1711.05101)."""

    name: str = "adamw"
    weight_decay: float = 0.01

    decoupled = True
