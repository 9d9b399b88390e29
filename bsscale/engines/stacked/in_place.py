"""A module that is built where its values will live."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["memory_given"]


def memory_given(tables: Sequence[Tensor]) -> AbstractContextManager[Any]:
    """A block in which a module is built whose tables take their memory from these.

    A large table would need its memory twice until it is copied. The values are those that it would
    have elsewhere.

    Parameters
    ----------
    tables
        float32 on a CPU, as `torch.empty` makes them; of those with the same shape, none is taken.
    """
    shapes = [table.shape for table in tables]
    return _Given({shape: table for shape, table in zip(shapes, tables, strict=True)
                   if shapes.count(shape) == 1})  # fmt: skip


class _Given(TorchFunctionMode):
    def __init__(self, tables: dict[torch.Size, Tensor]) -> None:
        super().__init__()
        self._tables = tables

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func is torch.empty and args and not any(given.values()):
            shape = torch.Size(args[0] if isinstance(args[0], tuple | list) else args)
            if shape in self._tables:
                return self._tables.pop(shape)
        return func(*args, **given)
