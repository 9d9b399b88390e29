"""Updates as CUDA graphs: launching kernels singly takes longer than running them."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor

from bsscale.engines.memory import is_out_of_memory

__all__ = ["UPDATES", "Blocks", "Inputs", "TakeUpdates"]

log = logging.getLogger(__name__)

# The most updates in one graph.
UPDATES = 16

# What some updates read, each tensor with the updates as its leading dimension.
Inputs: TypeAlias = Sequence[Tensor]
# Takes the updates of some inputs; gives their logits and labels, and the weights of samples if
# there are any, shapes (updates, width, batch).
Outputs: TypeAlias = tuple[Tensor, ...]
TakeUpdates: TypeAlias = Callable[[Inputs], Outputs]


class Blocks:
    """Takes updates in blocks, by CUDA graphs if it can.

    There is one graph of a whole block and one of a single update, so that any number of updates
    is taken by graphs. Whatever that number is, logits have the shape of a whole block: a device
    adds in an order that depends on the shape, so that the losses of the same updates could differ
    in their last bits.

    Parameters
    ----------
    take
        Takes updates without a graph.
    inputs
        An example for a whole block. It is trained on several times: what `take` changes has to be
        set afterwards.
    """

    def __init__(self, take: TakeUpdates, inputs: Inputs) -> None:
        self.updates = len(inputs[0])
        self._take = self._take_one = take
        first = [each[:1] for each in inputs]
        self._outputs = tuple(each.new_zeros(self.updates, *each.shape[1:]) for each in take(first))
        try:
            with _no_garbage_collection():
                block = _Graph(take, inputs)
                one = _Graph(take, first, block.pool) if self.updates > 1 else block
        except Exception as error:
            if is_out_of_memory(error):
                raise
            log.warning(
                "training goes on without CUDA graphs, more slowly, because the capture of one "
                "failed: %s",
                _first_cause(error),
            )
        else:
            self._take, self._take_one = block.replay, one.replay

    def take(self, inputs: Inputs) -> Outputs:
        """Take the updates of `inputs`, at most a block.

        Returns
        -------
        What `take` gives, in the shape of a whole block, valid until the next call. The rows that
        stand for no update have any values.
        """
        updates = len(inputs[0])
        if updates == self.updates:
            return self._take(inputs)
        for number in range(updates):
            found = self._take_one([each[number : number + 1] for each in inputs])
            for kept, each in zip(self._outputs, found, strict=True):
                kept[number].copy_(each[0])
        return self._outputs


class _Graph:
    """Some updates as one graph, which reads tensors that are refilled."""

    def __init__(self, take: TakeUpdates, inputs: Inputs, pool: Any = None) -> None:
        self._inputs = [each.clone() for each in inputs]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # libraries allocate their workspaces before anything is captured
                take(self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may use the device at the same time.
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._outputs = take(self._inputs)

    @property
    def pool(self) -> Any:
        """The memory of the graph. Graphs that are replayed one after the other can share it."""
        return self._graph.pool()

    def replay(self, inputs: Inputs) -> Outputs:
        """Take the updates; what it gives is valid until a graph of the same memory is replayed."""
        for own, new in zip(self._inputs, inputs, strict=True):
            own.copy_(new)
        self._graph.replay()
        return self._outputs


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """What the collector destroys could call CUDA, which a capture does not permit."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _first_cause(error: BaseException) -> str:
    """The error that ended a capture, not those that followed from it."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
