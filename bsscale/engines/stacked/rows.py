"""Sums of gradients over the rows of embedding tables."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["add_rows", "add_rows_sorted"]


def add_rows(total: Tensor, rows: Tensor, values: Tensor) -> None:
    """Add each row of `values` to a row of `total`.

    On CUDA, `index_add_` adds the values of a row in any order, so that two equal runs would
    differ by rounding and then drift apart.

    Parameters
    ----------
    total
        Shape (all rows, dim).
    rows
        Row numbers, shape (n,); repetitions are fine.
    values
        Shape (n, dim).
    """
    if total.is_cuda:
        add_rows_sorted(total, rows, values)
    else:
        total.index_add_(0, rows, values)


def add_rows_sorted(total: Tensor, rows: Tensor, values: Tensor) -> None:
    """`add_rows` in an order that the rows alone decide: torch sorts them on CUDA."""
    # "unsafe" leaves out four kernels that check the rows. `check_ids` has checked them.
    torch._index_put_impl_(total, [rows], values, accumulate=True, unsafe=True)
