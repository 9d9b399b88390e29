"""Stochastic gradient descent, with momentum and Nesterov's form of it."""

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

__all__ = ["SGDConfig"]


@dataclass
class SGDConfig(OptimizerConfig):
    """torch.optim.SGD: v ← μv + g + λθ; θ ← θ − lr·v, or lr·(g + μv) in Nesterov's form.

    With momentum 0 there is no v, and no momentum for a schedule to cycle.
    """

    name: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False

    momentum_option = "momentum"
    search_range = (3e-3, 3.0)
    range_test_range = (1e-3, 30.0)

    @property
    def momentum_now(self) -> float | None:
        return self.momentum if self.momentum != 0 else None

    def momentum_gain(self, momentum: float) -> float:
        """SGD moves the weights by lr / (1 − momentum) in the long run."""
        return (1 - momentum) / (1 - self.momentum)

    @property
    def zero_gradients_change_nothing(self) -> bool:
        return self.momentum == 0 and self.weight_decay == 0

    def check(self) -> None:
        super().check()
        if self.nesterov and self.momentum == 0:
            raise ConfigError(
                "optimizer.nesterov=true with optimizer.momentum=0",
                "Nesterov's update needs momentum: give optimizer.momentum=0.9",
            )

    def torch_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        from torch import optim

        return optim.SGD(
            parameters,
            lr=0.0,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )

    @property
    def states(self) -> tuple[str, ...]:
        return () if self.momentum_now is None else ("momentum_buffer",)

    def coefficients(self, lr: Floats, momentum: Floats, step: Ints) -> Floats:
        return np.stack([-lr] if self.momentum_now is None else [-lr, momentum], axis=1)

    def update(
        self, value: Tensor, gradient: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]
    ) -> None:
        direction = gradient
        # The velocity is up to date. (torch.compile of 2.11 does not know bool() of a list.)
        added = len(state) > 0 and state[0] is gradient
        if self.weight_decay and not added:
            gradient.add_(value, alpha=self.weight_decay)
        if state and not added:
            (velocity,) = state
            direction = velocity.mul_(c[1]).add_(gradient)
            if self.nesterov:
                direction = gradient.addcmul_(velocity, c[1])
        value.addcmul_(direction, c[0])

    def adds_gradients_to_state(self, clipped: bool) -> bool:
        plain = not self.nesterov and self.weight_decay == 0
        return self.momentum_now is not None and plain and not clipped

    def open_state(self, state: Tensor, c: Sequence[Tensor]) -> None:
        state.mul_(c[1])
