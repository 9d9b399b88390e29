"""An accelerator that is a CPU: the engine uses it as it uses CUDA, and graphs are emulated.

A capture records the calls of torch's operators; a replay makes the same calls again, with the same
tensors, and their results go into the same memory. So whatever a graph would bake in is baked in
here too: numbers of the host, memory that was replaced since. Operators that wait for the device,
or whose results have a size that depends on data, cannot be captured.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bsscale.engines.stacked import layers
from bsscale.engines.stacked.device_use import DEVICE_USE
from bsscale.engines.stacked.rows import add_rows_sorted

# Operators that wait for the device, copy from the host, or give a tensor of unknown size.
NOT_CAPTURED = {"_local_scalar_dense", "item", "is_nonzero", "equal", "lift_fresh", "nonzero"}
NOT_CAPTURED |= {"masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive"}
NOT_CAPTURED |= {"bincount", "histc", "repeat_interleave"}
# Operators that start no kernel though they give a new tensor.
NO_KERNEL = frozenset(["empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided"])

Operator = Callable[..., Any]


def name_of(operator: Any) -> str:
    return str(operator._schema.name).split("::")[1]


class Capturing(TorchDispatchMode):
    """Records calls; what CUDA does not capture ends it."""

    def __init__(self, calls: list[tuple[Operator, tuple[Any, ...], dict[str, Any], Any]]) -> None:
        super().__init__()
        self._calls = calls

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = name_of(operator)
        masks = name in ("index", "index_put_", "_index_put_impl_") and any(
            each is not None and each.dtype == torch.bool for each in args[1]
        )
        if masks or name in NOT_CAPTURED:
            raise RuntimeError(f"operation not permitted when stream is capturing: {operator}")
        result = operator(*args, **(kwargs or {}))
        self._calls.append((operator, args, kwargs or {}, result))
        return result


def tensors_in(result: Any) -> list[Tensor]:
    leaves = [result] if isinstance(result, Tensor) else tree_leaves(result)
    return [each for each in leaves if isinstance(each, Tensor)]


class Graph:
    """`torch.cuda.CUDAGraph`."""

    replays = 0

    def __init__(self) -> None:
        self.calls: list[tuple[Operator, tuple[Any, ...], dict[str, Any], Any]] = []

    def pool(self) -> tuple[int, int]:
        return (0, 1)

    def replay(self) -> None:
        Graph.replays += 1
        for operator, args, kwargs, before in self.calls:
            results = tensors_in(operator(*args, **kwargs))
            for memory, new in zip(tensors_in(before), results, strict=True):
                if memory.data_ptr() != new.data_ptr():
                    memory.copy_(new)


class Stream:
    """`torch.cuda.Stream`."""

    def wait_stream(self, other: Stream) -> None:
        pass


@contextmanager
def capture(graph: Graph, pool: object, capture_error_mode: str) -> Iterator[None]:
    """`torch.cuda.graph`."""
    with Capturing(graph.calls):
        yield


@contextmanager
def on_stream(stream: Stream) -> Iterator[None]:
    yield


def use_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on engines use the CPU as they use CUDA."""
    monkeypatch.setitem(DEVICE_USE, "cpu", DEVICE_USE["cuda"])
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", on_stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(Graph, "replays", 0)
    monkeypatch.setattr(layers, "add_rows", add_rows_sorted)
    monkeypatch.setattr(gc, "collect", lambda: 0)  # (which takes most of the time of a capture)


class Kernels(TorchDispatchMode):
    """Counts the operators that would start kernels: views and empty tensors start none."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = operator(*args, **(kwargs or {}))
        inputs = {each.untyped_storage()._cdata for each in tensors_in(args)}
        view = all(each.untyped_storage()._cdata in inputs for each in tensors_in(result))
        writes = operator._schema.is_mutable
        if (writes or not view) and name_of(operator) not in NO_KERNEL:
            self.names.append(name_of(operator))
        return result


class SumsByShape(TorchDispatchMode):
    """Means and running sums in an order that depends on the shape, as on a device."""

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if name_of(operator) == "mean" and len(args) > 1:
            x, [dim] = args[0], args[1]
            others = x.numel() // x.shape[dim]
            return torch.roll(x, others, dim).double().cumsum(dim).select(dim, -1).to(
                x.dtype
            ) / x.shape[dim] + torch.finfo(x.dtype).eps * (others % 7)
        if name_of(operator) == "cumsum" and args[0].shape[args[1]] == args[0].numel():
            pairs = operator(*args, **(kwargs or {}))
            return pairs * (1 + torch.finfo(pairs.dtype).eps * (len(pairs) % 5))
        return operator(*args, **(kwargs or {}))
