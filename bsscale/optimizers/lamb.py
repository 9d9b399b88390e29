"""LAMB: Adam's update, scaled for each parameter tensor to the norm of the tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bsscale.optimizers.adam import AdamConfig
from bsscale.optimizers.optimizer import Floats, Ints
from bsscale.optimizers.per_tensor import per_tensor_optimizer

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

__all__ = ["LambConfig"]


@dataclass
class LambConfig(AdamConfig):
    """LAMB (You et al., arXiv:1904.00962, algorithm 2): r = m̂/(√v̂ + ε) + λθ; θ ← θ − lr·‖θ‖/‖r‖·r.

    m̂ and v̂ are Adam's averages with its bias correction. The norms are those of one parameter
    tensor; the trust ratio ‖θ‖/‖r‖ is 1 where either of them is 0, and has no bounds (φ is the
    identity). The learning rate is thus the norm of an update relative to that of the parameters.
    Good rates are in the same range as Adam's. A model's categorical fields share one table, and so
    one ratio.
    """

    name: str = "lamb"
    eps: float = 1e-6
    weight_decay: float = 0.01

    elementwise = False

    def torch_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        return _torch_lamb()(
            parameters,
            lr=0.0,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            weight_decay=self.weight_decay,
        )

    def coefficients(self, lr: Floats, momentum: Floats, step: Ints) -> Floats:
        number = step + 1
        return np.stack(
            [
                -lr,
                1 - momentum,
                1 / (1 - momentum**number),
                1 / np.sqrt(1 - self.beta2**number),
            ],
            axis=1,
        )

    def update(
        self, value: Tensor, gradient: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]
    ) -> None:
        import torch

        mean, square = state
        mean.lerp_(gradient, c[1])
        square.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        # The gradient has been used: its memory is free for √v̂ + ε, and for r.
        scale = torch.sqrt(square, out=gradient).mul_(c[3]).add_(self.eps)
        direction = torch.div(mean, scale, out=scale).mul_(c[2])
        if self.weight_decay:
            direction.add_(value, alpha=self.weight_decay)
        ratio = _trust_ratio(
            torch.linalg.vector_norm(value, dim=1, keepdim=True),
            torch.linalg.vector_norm(direction, dim=1, keepdim=True),
        )
        value.addcmul_(direction, ratio.mul_(c[0]))


def _trust_ratio(parameter_norm: Tensor, update_norm: Tensor) -> Tensor:
    import torch

    return torch.where(
        (parameter_norm > 0) & (update_norm > 0),
        parameter_norm / update_norm,
        torch.ones_like(parameter_norm),  # (a number would be copied, which no CUDA graph may)
    )


@cache
def _torch_lamb() -> Callable[..., Optimizer]:
    return per_tensor_optimizer("Lamb", _update)


def _update(
    parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]
) -> None:
    """With the options and the state of torch.optim.Adam."""
    import torch

    if not state:
        state["step"] = torch.zeros(())
        state["exp_avg"] = torch.zeros_like(parameter)
        state["exp_avg_sq"] = torch.zeros_like(parameter)
    state["step"] += 1
    number, (beta1, beta2) = float(state["step"]), group["betas"]
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean.lerp_(gradient, 1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    mean_now = mean / (1 - beta1**number)
    square_now = square / (1 - beta2**number)
    update = mean_now / (square_now.sqrt() + group["eps"])
    update += group["weight_decay"] * parameter
    parameter -= group["lr"] * _trust_ratio(parameter.norm(), update.norm()) * update
