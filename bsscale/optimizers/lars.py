"""LARS: SGD whose rate follows, for each parameter tensor, the norms of tensor and gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from bsscale.errors import ConfigError
from bsscale.optimizers.per_tensor import per_tensor_optimizer
from bsscale.optimizers.sgd import SGDConfig

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

__all__ = ["LarsConfig"]


@dataclass
class LarsConfig(SGDConfig):
    """LARS (You et al., arXiv:1708.03888): v ← μv + q·(g + λθ); θ ← θ − lr·v.

    q = η·‖θ‖ / (‖g‖ + λ‖θ‖ + ε) is the trust ratio of one parameter tensor, and 1 where ‖θ‖ or ‖g‖
    is 0. As in timm's Lars (``always_adapt=True``), all tensors have one, and the rate is a factor
    of the update, not of what v keeps; in the paper it is the latter, which differs where the rate
    moves. A model's categorical fields share one table, and so one ratio.
    """

    name: str = "lars"
    weight_decay: float = 1e-4
    trust_coefficient: float = 1e-3
    eps: float = 1e-8

    elementwise = False
    search_range = (0.03, 100.0)
    range_test_range = (1e-3, 1e3)

    def check(self) -> None:
        super().check()
        if not 0 < self.trust_coefficient < float("inf"):
            raise ConfigError(
                f"optimizer.trust_coefficient={self.trust_coefficient} is not a positive number",
                "0.001 is common",
            )
        if not 0 <= self.eps < float("inf"):
            raise ConfigError(
                f"optimizer.eps={self.eps} is not a number of 0 or more", "1e-8 is common"
            )

    def torch_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        return _torch_lars()(
            parameters,
            lr=0.0,
            momentum=self.momentum,
            has_momentum=self.momentum != 0,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            trust_coefficient=self.trust_coefficient,
            eps=self.eps,
        )

    def adds_gradients_to_state(self, clipped: bool) -> bool:
        return False  # (the ratio depends on the whole gradient)

    def update(
        self, value: Tensor, gradient: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]
    ) -> None:
        import torch

        ratio = _trust_ratio(
            torch.linalg.vector_norm(value, dim=1, keepdim=True),
            torch.linalg.vector_norm(gradient, dim=1, keepdim=True),
            self.trust_coefficient,
            self.weight_decay,
            self.eps,
        )
        if self.weight_decay:
            gradient.add_(value, alpha=self.weight_decay)
        direction = gradient.mul_(ratio)
        if state:
            (velocity,) = state
            velocity.mul_(c[1]).add_(gradient)
            direction = gradient.addcmul_(velocity, c[1]) if self.nesterov else velocity
        value.addcmul_(direction, c[0])


def _trust_ratio(
    parameter_norm: Tensor, gradient_norm: Tensor, trust: float, decay: float, eps: float
) -> Tensor:
    import torch

    return torch.where(
        (parameter_norm > 0) & (gradient_norm > 0),
        trust * parameter_norm / (gradient_norm + decay * parameter_norm + eps),
        torch.ones_like(parameter_norm),  # (a number would be copied, which no CUDA graph may)
    )


@cache
def _torch_lars() -> Callable[..., Optimizer]:
    return per_tensor_optimizer("Lars", _update)


def _update(
    parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]
) -> None:
    """With the state of torch.optim.SGD."""
    import torch

    ratio = _trust_ratio(
        parameter.norm(),
        gradient.norm(),
        group["trust_coefficient"],
        group["weight_decay"],
        group["eps"],
    )
    update = ratio * (gradient + group["weight_decay"] * parameter)
    # (As the stacked rule does: a momentum that a schedule sets to 0 keeps the buffer.)
    if group["has_momentum"]:
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        velocity = state["momentum_buffer"]
        velocity.mul_(group["momentum"]).add_(update)
        update = update + group["momentum"] * velocity if group["nesterov"] else velocity
    parameter -= group["lr"] * update
