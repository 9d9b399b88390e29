"""Torch optimizers that torch does not have: a rule that updates one parameter tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

__all__ = ["per_tensor_optimizer"]

# Updates a parameter in place, from its gradient, its state (empty at first) and its group.
Rule: TypeAlias = "Callable[[Tensor, Tensor, dict[str, Any], dict[str, Any]], None]"


def per_tensor_optimizer(name: str, rule: Rule) -> Callable[..., Optimizer]:
    """A class of torch optimizers; it is made in a function, so that torch is imported when needed.

    Parameters
    ----------
    name
        Its name.
    rule
        Updates a parameter that has a gradient.

    Returns
    -------
    Takes the parameters, and the options of a group as keywords.
    """
    import torch

    class PerTensor(torch.optim.Optimizer):
        def __init__(self, params: Iterable[Tensor], **options: Any) -> None:
            super().__init__(params, options)

        @torch.no_grad()
        def step(self, closure: Callable[[], float] | None = None) -> Any:
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        rule(parameter, parameter.grad, self.state[parameter], group)
            return loss

    PerTensor.__name__ = PerTensor.__qualname__ = name
    return PerTensor
