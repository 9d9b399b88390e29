"""A schedule on any torch optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.optim import Optimizer

__all__ = ["apply_rates"]


def apply_rates(optimizer: Optimizer, lr: float, momentum: float | None) -> None:
    """Set the learning rate, and SGD's momentum or Adam's beta1, of every parameter group.

    Parameters
    ----------
    optimizer
        Any torch optimizer.
    lr
        Learning rate of the next update.
    momentum
        Momentum of the next update; None leaves it as it is. Adam's beta2 is never touched.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr
        if momentum is None:
            continue
        if "momentum" in group:
            group["momentum"] = momentum
        else:
            group["betas"] = (momentum, group["betas"][1])
