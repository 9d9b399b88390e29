"""Modules whose parameters have no values yet."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

__all__ = ["values_left_out"]

_DRAWS = (Tensor.normal_, Tensor.uniform_)


def values_left_out() -> AbstractContextManager[Any]:
    """A block in which modules are built without initial values, for their names and shapes.

    Nothing is drawn, so that large tables cost no time and, on a CPU, hardly any memory. On the
    meta device, where tensors have no values, drawing would import what a pass imports.
    """
    from torch.overrides import TorchFunctionMode

    class LeftOut(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            given = kwargs or {}
            if func in _DRAWS or getattr(func, "__module__", "") == "torch.nn.init":
                return args[0] if args else given["tensor"]
            return func(*args, **given)

    return LeftOut()
