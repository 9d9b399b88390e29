"""The squared norms of the gradients of some micro-batches, and of their average.

They follow from two sums over the micro-batches, element by element: of the gradients, and of their
squares. The ranks of a run can add these sums, and rows of a table that no micro-batch touched need
none.

The gradient is that of the loss, without weight decay and clipping. If the optimizer divides
gradients by the root of a second moment (Adam, AdamW, LAMB, Adagrad), the norms are preconditioned:
gᵀ P g, where P g is what an update takes. An update of P g gains GᵀPG and loses half of
(PG)ᵀH(PG) + tr(PHPΣ)/B, so that its noise scale is tr(PHPΣ) / (PG)ᵀH(PG). If P is the inverse of
the Hessian H up to a factor, as a preconditioner should be, this is tr(PΣ) / GᵀPG: the noise scale
of McCandlish et al. (arXiv:1812.06162) in coordinates in which P is the identity. The mean square
of the micro-batches is added to the second moment first, as an update would do it. So an element
that has never had a gradient is not divided by zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from bsscale.optimizers.groups import ParameterGroup, embedding_tables, group_numbers
from bsscale.optimizers.optimizer import OptimizerConfig

__all__ = ["GroupOf", "Part", "SquaredNorms", "Sums", "groups_of", "squared_norms"]

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
    """Sums over micro-batches for some elements of one group.

    Attributes
    ----------
    gradients, squares
        Of the gradients, and of their squares, of one shape.
    rows
        The rows of a table that they are of, shape (n,); None: all elements.
    """

    gradients: Tensor
    squares: Tensor
    rows: Tensor | None = None


@dataclass(frozen=True)
class Part:
    """The sums of some elements, and what their updates depend on.

    Attributes
    ----------
    group
        Of the elements.
    sums
        Over the micro-batches.
    moment
        The state `second_moment` of the optimizer for all elements; None if there is none, or
        before the first update.
    """

    group: GroupOf
    sums: Sums
    moment: Tensor | None = None


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


def squared_norms(parts: Iterable[Part], micro_batches: int, step: int) -> SquaredNorms:
    """The squared norms of each group, from the sums over the micro-batches.

    Parameters
    ----------
    parts
        Together all elements that have a gradient.
    micro_batches
        That the sums are over.
    step
        Number of the coming update, from 0.
    """
    import torch

    added: list[Tensor] = []
    names = []
    for part in parts:
        optimizer, sums = part.group.optimizer, part.sums
        squares, gradients = sums.squares, sums.gradients
        if optimizer.second_moment is not None:
            moment = part.moment
            if moment is None:
                moment = torch.zeros_like(squares)
            elif sums.rows is not None:
                moment = moment.view(-1, squares.shape[1]).index_select(0, sums.rows)
            divisor = optimizer.divisor(moment, squares / micro_batches, step)
            squares, gradients = squares / divisor, gradients / divisor.sqrt()
        names.append(part.group.name)
        added += [squares.sum(dtype=torch.float64), gradients.square().sum(dtype=torch.float64)]
    numbers = torch.stack(added).view(-1, 2).tolist()  # (on an accelerator, the only wait for it)
    totals = dict.fromkeys(sorted(set(names)), (0.0, 0.0))
    for name, (small, large) in zip(names, numbers, strict=True):
        before = totals[name]
        totals[name] = (
            before[0] + small / micro_batches,
            before[1] + large / micro_batches**2,
        )
    return totals
