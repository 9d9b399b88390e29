"""Parameter groups: embedding tables may have their own rates and options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bsscale.errors import ConfigError
from bsscale.optimizers.optimizer import OptimizerConfig

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

__all__ = ["ParameterGroup", "embedding_tables", "group_numbers", "torch_optimizer"]


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are updated by the same rates and options.

    A run has one group, of all parameters, or two: ``dense`` and then ``embeddings``, the weights
    of every ``nn.Embedding`` and ``nn.EmbeddingBag``.

    Attributes
    ----------
    name
        Its name.
    optimizer
        The options of its optimizer.
    lr_ratio
        Its learning rate relative to the schedule's.
    constant_lr
        Its learning rate at every update, if it does not follow the schedule.
    """

    name: str
    optimizer: OptimizerConfig
    lr_ratio: float = 1.0
    constant_lr: float | None = None

    def lr(self, scheduled: float) -> float:
        """Its learning rate where the schedule has the rate `scheduled`."""
        return scheduled * self.lr_ratio if self.constant_lr is None else self.constant_lr


def group_numbers(module: nn.Module, groups: Sequence[ParameterGroup]) -> dict[str, int]:
    """The number of the group of each parameter, by the parameter's name.

    Raises
    ------
    ConfigError
        If there is a group for embedding tables and the module has none.
    """
    named = dict(module.named_parameters())
    if len(groups) == 1:
        return dict.fromkeys(named, 0)
    tables = embedding_tables(module)
    numbers = {name: int(name in tables) for name in named}
    if 1 not in numbers.values():
        raise ConfigError(
            f"scaling.embeddings is given, but {type(module).__name__} has no embedding table "
            "(nn.Embedding or nn.EmbeddingBag)",
            "leave scaling.embeddings out, or give a model and data with categorical columns",
        )
    return numbers


def embedding_tables(module: nn.Module) -> set[str]:
    """Names of the weights of every ``nn.Embedding`` and ``nn.EmbeddingBag`` of a module."""
    from torch import nn

    tables = {
        id(each.weight)
        for each in module.modules()
        if isinstance(each, nn.Embedding | nn.EmbeddingBag)
    }
    return {name for name, value in module.named_parameters() if id(value) in tables}


def torch_optimizer(
    module: nn.Module, groups: Sequence[ParameterGroup]
) -> tuple[Optimizer, list[ParameterGroup]]:
    """One torch optimizer over a module, with a parameter group for each group.

    Returns
    -------
    The optimizer, and the group of each of its parameter groups.
    """
    if len(groups) == 1:
        [group] = groups
        return group.optimizer.torch_optimizer(module.parameters()), [group]
    numbers = group_numbers(module, groups)
    named = dict(module.named_parameters())
    optimizer: Optimizer | None = None
    trained = []
    for number, group in enumerate(groups):
        own = [named[name] for name, its in numbers.items() if its == number]
        if not own:  # (the model has only embedding tables)
            continue
        made = group.optimizer.torch_optimizer(own)
        if optimizer is None:
            optimizer = made
        else:
            optimizer.add_param_group(made.param_groups[0])
        trained.append(group)
    assert optimizer is not None  # (there are tables)
    return optimizer, trained
