"""The base class of optimizers: options, torch's form, and the rule for stacked runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from bsscale.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

__all__ = ["SPARSE_ROWS", "Floats", "Ints", "OptimizerConfig"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Rows of a table from which on finding the touched rows costs less than updating all rows.
SPARSE_ROWS = 20_000
# The methods of the rule for stacked runs.
_STACKED = ("states", "coefficients", "update")


@dataclass
class OptimizerConfig:
    """An optimizer: its options as fields, what is known of it as class attributes.

    The base class is the placeholder in a configuration before an optimizer is chosen. It can be
    instantiated, but has no torch form and no rule.

    Attributes
    ----------
    name
        The optimizer's name in records.
    elementwise
        Whether the update of an element depends only on that element. If false, as in layerwise
        rules, each parameter has its own tensor and all of it is updated.
    momentum_option
        The option that a schedule's momentum replaces; None if there is none.
    decoupled
        Whether weight decay is decoupled from the gradient: an update subtracts lr·λ times the
        weight, whatever the gradient is.
    second_moment
        torch.optim's name of the state that averages or adds squared gradients, by whose root an
        update divides the gradient; None if updates are not divided.
    search_range, range_test_range
        The first range of rates of a study's search, and the range of a range test. Use
        `rates_to_search` and `rates_to_test` to read them.
    """

    name: str = "???"  # (missing, as OmegaConf spells it)
    weight_decay: float = 0.0
    sparse: bool | str = "auto"

    elementwise: ClassVar[bool] = True
    # Whether its class is one of bsscale's, which all models have been trained with.
    ships: ClassVar[bool] = True
    decoupled: ClassVar[bool] = False
    momentum_option: ClassVar[str | None] = None
    second_moment: ClassVar[str | None] = None
    search_range: ClassVar[tuple[float, float]]
    range_test_range: ClassVar[tuple[float, float]]

    # -- options ----------------------------------------------------------------------------------

    @property
    def momentum_now(self) -> float | None:
        """The configured momentum; None if there is none that a schedule can change."""
        if self.momentum_option is None:
            return None
        momentum: float = getattr(self, self.momentum_option)
        return momentum

    def at_momentum(self, momentum: float) -> Self:
        """The same optimizer with another momentum.

        Raises
        ------
        ConfigError
            If it has no momentum that a schedule can change.
        """
        if self.momentum_option is None or self.momentum_now is None:
            raise ConfigError(
                f"optimizer={self.name} has no momentum that could be {momentum:g}",
                "leave out what sets its momentum, or give an optimizer with momentum",
            )
        moved: dict[str, Any] = {self.momentum_option: momentum}
        return replace(self, **moved)

    @property
    def follows_lr(self) -> bool:
        """Whether every update depends on the learning rate that is set for it."""
        return True

    def momentum_gain(self, momentum: float) -> float:
        """The factor by which the learning rate may be higher at another momentum.

        1 if momentum averages gradients instead of summing them.
        """
        return 1.0

    def divisor(self, moment: Tensor, square: Tensor, step: int) -> Tensor:
        """What an update divides the gradient by, element by element.

        Parameters
        ----------
        moment
            The state `second_moment` before the update.
        square
            The squared gradient of the update, of the same shape.
        step
            Number of the update, from 0.
        """
        raise NotImplementedError

    def updates_touched_rows_only(self, rows: int) -> bool:
        """Whether an embedding table of so many rows is updated only where a batch touched it."""
        if isinstance(self.sparse, bool):
            return self.sparse
        return self.elementwise and self._knows_touched_rows() and rows >= SPARSE_ROWS

    @property
    def zero_gradients_change_nothing(self) -> bool:
        """Whether an element whose gradient is zero keeps its value and its state, to the bit.

        To be said by the class that has the rule; of another one it is not believed.
        """
        return False

    def _knows_touched_rows(self) -> bool:
        of_property, of_rule = (
            _owner(type(self), (name,)) for name in ("zero_gradients_change_nothing", "update")
        )
        return issubclass(of_property, of_rule) and self.zero_gradients_change_nothing

    @property
    def stackable(self) -> bool:
        """Whether many runs can be trained by `update`: the rule of its own `torch_optimizer`.

        A class that changes torch's form of another one, and not its stacked rule, has none.
        """
        return issubclass(_owner(type(self), _STACKED), _owner(type(self), ("torch_optimizer",)))

    def rates_to_search(self) -> tuple[float, float]:
        """Between which learning rates a search begins."""
        return self.search_range

    def rates_to_test(self) -> tuple[float, float]:
        """Between which learning rates a range test grows them."""
        return self.range_test_range

    def check(self) -> None:
        """Raise ConfigError for values that torch would refuse or that cannot train."""
        of_torch, of_stacks = (
            _owner(type(self), names) for names in (("torch_optimizer",), _STACKED)
        )
        if not issubclass(of_torch, of_stacks):
            raise ConfigError(
                f"{of_stacks.__name__} has a stacked rule of its own and the torch_optimizer of "
                f"{of_torch.__name__}: one run would be trained by another rule",
                f"write {of_stacks.__name__}.torch_optimizer",
            )
        if not isinstance(self.sparse, bool) and self.sparse != "auto":
            raise ConfigError(
                f"optimizer.sparse={self.sparse} is not one of its values",
                "give auto, true or false",
            )
        if self.sparse is True and not self.elementwise:
            raise ConfigError(
                f"optimizer.sparse=true with optimizer={self.name}, whose update of a row depends "
                "on the whole table",
                "give optimizer.sparse=auto, which updates every row",
            )
        if not self.weight_decay >= 0:
            raise ConfigError(
                f"optimizer.weight_decay={self.weight_decay} is negative",
                "give a weight decay of 0 or more",
            )
        momentum = self.momentum_now
        if momentum is not None and not 0 <= momentum < 1:
            raise ConfigError(
                f"optimizer.{self.momentum_option}={momentum} is outside [0, 1)",
                "momentum is the share of the last update that is kept; 0.9 is common",
            )

    # -- one run, by torch ------------------------------------------------------------------------

    def torch_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        """The torch optimizer. Its learning rate is set before every update."""
        raise NotImplementedError

    # -- many runs, stacked -----------------------------------------------------------------------

    @property
    def states(self) -> tuple[str, ...]:
        """torch.optim's names of the state besides the gradient, each shaped as the parameters."""
        raise NotImplementedError

    def coefficients(self, lr: Floats, momentum: Floats, step: Ints) -> Floats:
        """What some updates need of the learning rate, the momentum and the update's number.

        It is computed ahead, in float64, for many updates at once.

        Parameters
        ----------
        lr, momentum, step
            Learning rate, momentum and number of each update (from 0), of shape (updates, width).

        Returns
        -------
        Shape (updates, coefficients, width). With coefficients of zero, an update changes no
        parameter.
        """
        raise NotImplementedError

    def update(
        self, value: Tensor, gradient: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]
    ) -> None:
        """Take one update of many runs, in place.

        Parameters
        ----------
        value, gradient
            A parameter tensor of shape (width, elements), and the gradient, which may be used up.
        state
            One tensor for each of `states`, of the same shape.
        c
            The coefficients of the update, each of shape (width, 1).
        """
        raise NotImplementedError

    def adds_gradients_to_state(self, clipped: bool) -> bool:
        """Whether gradients can be added straight into the first state, which saves two passes.

        Parameters
        ----------
        clipped
            Whether gradients are changed between the backward pass and the update.
        """
        return False

    def open_state(self, state: Tensor, c: Sequence[Tensor]) -> None:
        """Prepare the first state before gradients are added to it."""
        raise NotImplementedError


def _owner(kind: type, names: Sequence[str]) -> type:
    """The most derived class that defines one of `names`."""
    return next(each for each in kind.__mro__ if any(name in vars(each) for name in names))
