"""The squared norms of the gradients of some micro-batches, and of their average.

They follow from two sums over the micro-batches, element by element: of the gradients, and of their
squares. The ranks of a run can add these sums, and rows of a table that no micro-batch touched need
none.

The gradient is that of the loss, without weight decay and clipping. If the optimizer divides
gradients by the root of a second moment (Adam, AdamW, LAMB, Adagrad), so do the norms: then they
are those of the gradients as updates see them, as in AdaptDL (Qiao et al., arXiv:2008.12260). The
mean square of the micro-batches is added to the second moment first, as an update would do it. So
an element that has never had a gradient is not divided by zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from bsscale.optimizers.groups import ParameterGroup, embedding_tables, group_numbers
from bsscale.optimizers.optimizer import OptimizerConfig

__all__ = ["GroupOf", "SquaredNorms", "Sums", "groups_of", "squared_norms"]

# For each group of parameters (dense, embeddings): |G_b|², the mean over the micro-batches, and
# |G_B|², of their average.
SquaredNorms: TypeAlias = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class GroupOf:
    """The group of a parameter.

    Attributes
    ----------
    name
        dense, or embeddings for the weight of an embedding table.
    optimizer
        Its options, after the scaling rule.
    """

    name: str
    optimizer: OptimizerConfig


@dataclass(frozen=True)
class Sums:
    """Sums over micro-batches for one parameter, or for the rows of it that were touched.

    Attributes
    ----------
    gradients, squares
        Of the gradients, and of their squares, of one shape.
    rows
        The touched rows, shape (n,); None: all of the parameter.
    """

    gradients: Tensor
    squares: Tensor
    rows: Tensor | None = None


def groups_of(module: nn.Module, groups: Iterable[ParameterGroup]) -> dict[str, GroupOf]:
    """The group of each parameter of a module, by the parameter's name.

    Tables and all other parameters are told apart, also where one group trains both.
    """
    trained = list(groups)
    tables = embedding_tables(module)
    return {
        name: GroupOf("embeddings" if name in tables else "dense", trained[number].optimizer)
        for name, number in group_numbers(module, trained).items()
    }


def squared_norms(
    sums: Mapping[str, Sums],
    groups: Mapping[str, GroupOf],
    state: Callable[[str, str], Tensor | None],
    micro_batches: int,
    step: int,
) -> SquaredNorms:
    """The squared norms of each group, from the sums over the micro-batches.

    Parameters
    ----------
    sums
        By the parameter's name.
    groups
        As `groups_of` gives them.
    state
        The optimizer's state of a parameter, by the names of both; None before the first update.
    micro_batches
        That the sums are over.
    step
        Number of the coming update, from 0.
    """
    import torch

    found: dict[str, list[Tensor]] = {}
    for name, each in sums.items():
        group = groups[name]
        square, mean = each.squares / micro_batches, each.gradients / micro_batches
        kind = group.optimizer.second_moment
        if kind is not None:
            moment = state(name, kind)
            if moment is None:
                moment = torch.zeros_like(square)
            elif each.rows is not None:
                moment = moment.index_select(0, each.rows)
            divisor = group.optimizer.divisor(moment, square, step)
            square, mean = square / divisor.square(), mean / divisor
        norms = torch.stack([x.sum(dtype=torch.float64) for x in (square, mean.square())])
        found.setdefault(group.name, []).append(norms)
    names = sorted(found)
    totals = torch.stack([torch.stack(found[name]).sum(dim=0) for name in names]).tolist()
    return {name: (small, large) for name, (small, large) in zip(names, totals, strict=True)}
