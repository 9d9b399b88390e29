"""Matrix products of many runs that give each run the same bits, whatever the number of runs is.

On a CPU, torch computes the products of one run by ``gemm`` and those of several by ``gemm_batch``.
For a product with a side of length 1 (the last layer of a tower has one output), MKL's ``gemm``
takes the path of a matrix-vector product, which adds in another order. So the narrow products of
one run are computed as a stack of two runs, both the same: as many kernels, and no tensor is
copied. All other products agree.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["add_product", "baddbmm", "bmm"]


def baddbmm(bias: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`torch.baddbmm` of (width, 1, columns), (width, rows, inner), (width, inner, columns)."""
    if _is_narrow(a, b):
        return torch.baddbmm(_twice(bias), _twice(a), _twice(b))[:1]
    return torch.baddbmm(bias, a, b)


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """`torch.bmm` of (width, rows, inner) and (width, inner, columns)."""
    if a.is_cuda and a.shape[2] == 1:
        return a * b  # (for which torch would compile a kernel, which needs a C compiler)
    if _is_narrow(a, b) and a.shape[2] > 1:  # (a sum of one product is the same in any order)
        return torch.bmm(_twice(a), _twice(b))[:1]
    return torch.bmm(a, b)


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add a b to `total`, of shape (width, rows, columns).

    In a tensor that several parameters share, `total` is not contiguous for several runs, and
    torch computes run by run. Only where `total` has a tensor of its own is it a stack of two.
    """
    if _is_narrow(a, b) and total.untyped_storage().nbytes() == total.nbytes:
        total.copy_(torch.baddbmm(_twice(total), _twice(a), _twice(b))[:1])
    else:
        total.baddbmm_(a, b)


def _is_narrow(a: Tensor, b: Tensor) -> bool:
    return a.shape[0] == 1 and 1 in (*a.shape[1:], b.shape[2]) and not a.is_cuda


def _twice(x: Tensor) -> Tensor:
    return x.expand(2, -1, -1)
