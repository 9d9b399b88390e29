"""The parameters of many copies of one module, stacked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["StackedParameters"]

# Elements to which every parameter in a shared tensor is aligned: 64 bytes of float32.
_ALIGNMENT = 16


class StackedParameters:
    """The parameters of `width` runs, in one tensor a group.

    Few large tensors make few and large updates, whatever the number of layers is.

    Parameters
    ----------
    module
        One run's module; only names, shapes and the values that `load` copies are taken.
    width
        Runs in the stack.
    groups
        Names of the parameters that share a tensor, group by group; together all of them.
    device, dtype
        Where and as what they live.

    Attributes
    ----------
    tensors
        One tensor a group, shape (width, elements): what an optimizer updates.
    names
        Of the parameters in each tensor.
    """

    def __init__(
        self,
        module: nn.Module,
        width: int,
        groups: Sequence[Sequence[str]],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        shapes = {name: value.shape for name, value in module.named_parameters()}
        self._places: dict[str, tuple[int, int, torch.Size]] = {}
        self.tensors: list[Tensor] = []
        self.names = [tuple(names) for names in groups]
        for number, names in enumerate(groups):
            elements = 0
            for name in names:
                self._places[name] = (number, elements, shapes[name])
                elements += math.prod(shapes[name])
                if len(names) > 1:
                    elements += -elements % _ALIGNMENT
            self.tensors.append(torch.zeros(width, elements, device=device, dtype=dtype))
        self.values = self.views(self.tensors)

    def views(self, tensors: Sequence[Tensor | None]) -> dict[str, Tensor]:
        """`tensors`, shaped as the groups are, by parameter: each of shape (width, *shape).

        Without the parameters of a group whose tensor is None.
        """
        views = {}
        for name, (number, start, shape) in self._places.items():
            tensor = tensors[number]
            if tensor is not None:
                # (not -1 for the width: without elements, it would be undetermined)
                part = tensor[:, start : start + math.prod(shape)]
                views[name] = part.view(len(tensor), *shape)
        return views

    @torch.no_grad()
    def load(self, slot: int, module: nn.Module) -> None:
        """Put a module's parameters into a slot."""
        for name, value in module.named_parameters():
            place = self.values[name][slot]
            if value.data_ptr() != place.data_ptr():  # (it may have been built there)
                place.copy_(value)  # (converts, where the run is not in float32)

    @torch.no_grad()
    def store(self, slot: int, module: nn.Module) -> None:
        """Put a slot's parameters into a module.

        Of one run alone, the module is given the tensors themselves where it can: it is that run's
        module until another one is loaded.
        """
        for name, value in module.named_parameters():
            own = self.values[name][slot]
            if not self._alone(name, value):
                value.copy_(own)
            else:
                value.data = own if len(self.values[name]) == 1 else own.clone()

    @torch.no_grad()
    def release(self, module: nn.Module) -> None:
        """Free the memory of a module's parameters that are in a tensor of their own here.

        They become those of the first slot, and `store` gives the module any slot's. A module on
        another device than the stack keeps its own.
        """
        for name, value in module.named_parameters():
            if self._alone(name, value):
                value.data = self.values[name][0]

    def _alone(self, name: str, value: Tensor) -> bool:
        """Whether a parameter has a tensor of its own here, on the device of the module's."""
        number = self._places[name][0]
        return len(self.names[number]) == 1 and self.tensors[number].device == value.device

    def move_towards(self, others: StackedParameters, weights: Tensor) -> None:
        """Move every run's parameters towards those of `others` by its weight, shape (width,)."""
        for own, other in zip(self.tensors, others.tensors, strict=True):
            own.lerp_(other, weights.unsqueeze(1))

    def clear(self, slot: int) -> None:
        """Set a slot to zero, so that a diverged run leaves no NaN in it."""
        for tensor in self.tensors:
            tensor[slot].zero_()
