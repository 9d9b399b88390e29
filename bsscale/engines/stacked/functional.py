"""Any ``nn.Module`` as a stacked model, by torch.func; made to be compiled."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from bsscale.engines.squared_norms import Sums
from bsscale.engines.stacked.micro_batches import at_a_time
from bsscale.engines.stacked.vectors import weighted
from bsscale.engines.trial import tried, without_gradient
from bsscale.objectives import Objective
from bsscale.objectives.torch_form import losses_of

__all__ = ["FunctionalModel", "why_not_stackable"]

# Numbers of the gradients of one run that are computed at a time.
_GRADIENT_ELEMENTS = 2**24


class FunctionalModel:
    """Many runs of one module: ``vmap`` over their parameters.

    Uncompiled it is slower than running the module as it is, run by run.

    Parameters
    ----------
    module
        The module, in training mode; its parameters are replaced in every call.
    objective
        Whose loss is minimized.
    values
        Parameters by name, each of shape (width, *shape).
    """

    def __init__(
        self, module: nn.Module, objective: Objective, values: Mapping[str, Tensor]
    ) -> None:
        self._module, self._losses = module, losses_of(objective)
        self._values = dict(values)
        self._buffers = dict(module.named_buffers())
        self._gradient = vmap(grad(self._loss, has_aux=True))
        self._gradients_of_one = {
            count: vmap(grad(self._loss, has_aux=True), in_dims=(None, 0, 0, *([0] * count)))
            for count in (1, 2)
        }

    def gradient(
        self, categorical: Tensor, numeric: Tensor, *targets: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Gradients of each run's own mean loss, by name, and the logits, (width, batch).

        `targets` are the labels, and the weights if there are any.
        """
        gradients, logits = self._gradient(self._values, categorical, numeric, *targets)
        return gradients, logits

    def gradient_sums(
        self, slot: int, categorical: Tensor, numeric: Tensor, *targets: Tensor
    ) -> list[Sums]:
        """Sums over the gradients of one run for some batches, (batches, samples, …).

        For each parameter, flat, in the order of `values`.
        """
        values = {name: value[slot] for name, value in self._values.items()}
        elements = sum(value.numel() for value in values.values())
        parts = max(1, min(at_a_time(*targets[0].shape), _GRADIENT_ELEMENTS // max(1, elements)))
        totals = [
            Sums(torch.zeros_like(value).view(-1), torch.zeros_like(value).view(-1))
            for value in values.values()
        ]
        gradients = self._gradients_of_one[len(targets)]
        for start in range(0, len(numeric), parts):
            part = slice(start, start + parts)
            found, _ = gradients(values, *(each[part] for each in (categorical, numeric, *targets)))
            for name, total in zip(values, totals, strict=True):
                each = found[name].reshape(len(found[name]), -1)
                total.gradients.add_(each.sum(dim=0))
                total.squares.add_(each.square().sum(dim=0))
        return totals

    def score(self, slot: int, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Logits of one run in evaluation mode, shape (n,)."""
        values = {name: value[slot] for name, value in self._values.items()}
        self._module.eval()
        logits: Tensor = functional_call(
            self._module, (values, self._buffers), (categorical, numeric)
        )
        self._module.train()
        return logits.reshape(len(numeric))

    def _loss(
        self,
        values: Mapping[str, Tensor],
        categorical: Tensor,
        numeric: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        logits = functional_call(
            self._module, (dict(values), self._buffers), (categorical, numeric)
        ).reshape(label.shape)  # (from (n, 1))
        return weighted(self._losses(logits, label), weight).mean(), logits


def why_not_stackable(
    module: nn.Module,
    other: nn.Module,
    objective: Objective,
    categorical: Tensor,
    numeric: Tensor,
    label: Tensor,
) -> str | None:
    """Why a module's runs cannot be trained in one stack; None if they can.

    Batch normalization's running statistics, random masks and control flow that depends on data
    belong to one run and not to the stack.

    Parameters
    ----------
    module, other
        The module in training mode, as two different seeds initialize it.
    objective
        Whose loss is minimized.
    categorical, numeric, label
        A few samples, shapes (n, fields), (n, numeric fields) and (n,).
    """
    if not all(value.requires_grad for value in module.parameters()):
        return "some of its parameters are frozen"
    if not _same_buffers(module, other):
        return "its buffers depend on the seed"
    values = {
        name: value.detach().expand(2, *value.shape) for name, value in module.named_parameters()
    }
    try:
        copied = tried(module, categorical, numeric)
        # (In a stack it would decay; torch leaves it alone.)
        if unused := without_gradient(copied):
            return f"its parameter {unused[0]} has no gradient"
        gradients = [value.grad for value in copied.parameters()]
        if any(each is not None and each.layout != torch.strided for each in gradients):
            return "its gradients are sparse"
        FunctionalModel(module, objective, values).gradient(
            *(tensor.expand(2, *tensor.shape) for tensor in (categorical, numeric, label))
        )
    except Exception as error:
        # Any error means that the module cannot be stacked. If the module itself is wrong, training
        # it alone will raise the error.
        return " ".join(str(error).split()).split(". ")[0]
    return None if _same_buffers(module, copied) else "its buffers change while it trains"


def _same_buffers(module: nn.Module, other: nn.Module) -> bool:
    buffers, others = dict(module.named_buffers()), dict(other.named_buffers())
    return buffers.keys() == others.keys() and all(
        torch.equal(value, others[name]) for name, value in buffers.items()
    )
