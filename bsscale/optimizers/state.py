"""The state of any torch optimizer, saved to arrays and loaded with the same bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bsscale.files.checked import Arrays

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

__all__ = ["OptimizerState"]

# Prefixes of the names of Python numbers; tensors have no prefix.
NUMBER, GROUP = "number/", "group/"
# Keys of a group that are not saved: the parameters, and what a schedule sets at every update.
_EXCLUDED = ("params", "lr", "momentum", "betas")


class OptimizerState:
    """The state that an optimizer keeps between updates.

    ========================  ====================================================================
    ``NAME.KEY``              a tensor of the state of parameter NAME
    ``number/NAME.KEY``       a Python number there
    ``group/INDEX.KEY``       a Python number of a parameter group, if training has changed it
    ========================  ====================================================================

    Parameters
    ----------
    optimizer
        A new optimizer: the values in its parameter groups are the configured ones.
    parameters
        Its parameters by name.
    """

    def __init__(self, optimizer: Optimizer, parameters: Mapping[str, Tensor]) -> None:
        self._optimizer, self._parameters = optimizer, dict(parameters)
        self._configured = dict(self._group_numbers())

    def save(self) -> Arrays:
        """The state; tensors on a CPU are not copied."""
        from torch import Tensor

        arrays: Arrays = {}
        for name, parameter in self._parameters.items():
            for key, value in self._optimizer.state[parameter].items():
                if isinstance(value, Tensor):
                    arrays[f"{name}.{key}"] = value.detach().cpu().numpy()
                elif isinstance(value, int | float):
                    arrays[f"{NUMBER}{name}.{key}"] = np.array(value)
        for place, value in self._group_numbers():
            if self._configured.get(place) != value:
                arrays[f"{GROUP}{place[0]}.{place[1]}"] = np.array(value)
        return arrays

    def load(self, arrays: Mapping[str, Any]) -> None:
        """Load the result of `save` into an optimizer that was created in the same way."""
        import torch

        for name, parameter in self._parameters.items():
            state = self._optimizer.state[parameter]
            for key, array in _below(arrays, f"{name}."):
                # As torch does: a count of updates is on the CPU, unless a CUDA graph reads it.
                group = self._group_of(parameter)
                on_device = group.get("capturable") or group.get("fused")
                device = parameter.device if key != "step" or on_device else None
                state[key] = torch.from_numpy(np.array(array)).to(device)
            for key, array in _below(arrays, f"{NUMBER}{name}."):
                state[key] = array.item()
        for index, group in enumerate(self._optimizer.param_groups):
            for key, array in _below(arrays, f"{GROUP}{index}."):
                group[key] = array.item()

    def _group_numbers(self) -> Iterator[tuple[tuple[int, str], int | float]]:
        for index, group in enumerate(self._optimizer.param_groups):
            for key, value in group.items():
                if key not in _EXCLUDED and isinstance(value, int | float):
                    yield (index, key), value

    def _group_of(self, parameter: Tensor) -> dict[str, Any]:
        for group in self._optimizer.param_groups:
            if any(each is parameter for each in group["params"]):
                return group
        return {}


def _below(arrays: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    return (
        (name.removeprefix(prefix), array)
        for name, array in arrays.items()
        if name.startswith(prefix)
    )
