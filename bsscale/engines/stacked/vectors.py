"""Functions of single elements that give each run the same bits, whatever the number of runs is.

On a CPU, torch computes an elementwise function in blocks of vectors, and what is left at the end
of the tensor element by element. Sigmoid, exp and log round otherwise there. In a stack of runs of
an odd number of samples, what is left at the end belongs to the last run. So each run is filled
up to whole blocks, which changes nothing for the usual batch sizes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["by_blocks", "weighted"]

# Two vectors of AVX-512: torch's largest block.
_BLOCK_BYTES = 128


def by_blocks(function: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """`function` of two tensors of one shape, element by element; runs are in the last dimension.

    Parameters
    ----------
    function
        Gives a tensor of the same shape; elements do not depend on each other.
    a, b
        Shape (…, samples), of one type.
    """
    samples = a.shape[-1]
    block = _BLOCK_BYTES // a.element_size()
    if samples % block == 0 or a.is_cuda:
        return function(a, b)
    filling = (0, -samples % block)
    filled = (torch.nn.functional.pad(x, filling) for x in (a, b))
    return function(*filled)[..., :samples]


def weighted(values: Tensor, weight: Tensor | None) -> Tensor:
    """Values of samples, times their weights if there are any."""
    return values if weight is None else values * weight
