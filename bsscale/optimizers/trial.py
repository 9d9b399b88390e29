"""A trial of an unknown optimizer on a small parameter, before anything is trained."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bsscale.errors import ConfigError
from bsscale.optimizers.state import OptimizerState

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

__all__ = ["Behaviour", "examine"]

UPDATES = 5
RATE = 0.01


@dataclass(frozen=True)
class Behaviour:
    """The properties of an optimizer that a trial finds.

    Attributes
    ----------
    momentum
        The configured momentum, or the first of the betas, if a schedule can change it; None if
        there is none.
    follows_lr
        Whether updates after the first one depend on the learning rate that is set before them.
    """

    momentum: float | None
    follows_lr: bool


def examine(make: Callable[[Iterable[Tensor]], Optimizer], name: str) -> Behaviour:
    """Let an optimizer update a small parameter, and continue from its saved state.

    Parameters
    ----------
    make
        Creates the optimizer of some parameters.
    name
        Its name in messages.

    Raises
    ------
    ConfigError
        If it needs a closure, cannot take an update, reads no learning rate from its parameter
        groups, or does not continue with the same bits from the state in a checkpoint.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        _Trial(make, name).check_step()
        undisturbed, resumed = _Trial(make, name), _Trial(make, name)
        undisturbed.train()
        resumed.load_state_of(undisturbed)
        for trial in (undisturbed, resumed):
            torch.manual_seed(0)
            trial.train()
        if not torch.equal(undisturbed.parameter, resumed.parameter):
            raise ConfigError(
                f"{name} cannot be resumed: its updates depend on more than the tensors and "
                "numbers in its state and its parameter groups",
                "keep all that its step() changes in optimizer.state[parameter], as tensors, int, "
                "float or bool, or as numbers in its param_groups",
            )
        if not _differ(make, name, (RATE, None), (2 * RATE, None), from_the_start=True):
            raise ConfigError(
                f"{name} does not use the learning rate in its parameter groups, which the "
                "schedule sets before every update",
                'let its step() read group["lr"]',
            )
        momentum = undisturbed.momentum
        if momentum is not None and not _differ(
            make, name, (RATE, momentum), (RATE, momentum / 2), from_the_start=False
        ):
            momentum = None
        follows = _differ(make, name, (RATE, None), (2 * RATE, None), from_the_start=False)
    return Behaviour(momentum, follows)


def _differ(
    make: Callable[[Iterable[Tensor]], Optimizer],
    name: str,
    *rates: tuple[float, float | None],
    from_the_start: bool,
) -> bool:
    """Whether different rates give different parameters.

    The rates differ from the first update on, or after some updates with equal rates.
    """
    import torch

    ends = []
    for lr, momentum in rates:
        torch.manual_seed(0)
        trial = _Trial(make, name)
        if not from_the_start:
            trial.train(*rates[0])
        trial.train(lr, momentum)
        ends.append(trial.parameter)
    return not torch.equal(*ends)


class _Trial:
    """A parameter of a few numbers, and its optimizer."""

    def __init__(self, make: Callable[[Iterable[Tensor]], Optimizer], name: str) -> None:
        import torch

        self.parameter = torch.nn.Parameter(torch.linspace(-1.0, 1.0, 12).reshape(3, 4))
        self.optimizer = make([self.parameter])
        self._name, self._updates = name, 0
        self._state = OptimizerState(self.optimizer, {"weight": self.parameter})

    @property
    def momentum(self) -> float | None:
        """The value that a schedule would change: the first beta, or else the momentum."""
        found = [
            float(group["betas"][0] if "betas" in group else group.get("momentum") or 0.0)
            for group in self.optimizer.param_groups
        ]
        return found[0] if all(found) else None

    def check_step(self) -> None:
        """Raise ConfigError unless step() needs gradients only, and each group has a rate."""
        required = [
            name
            for name, each in inspect.signature(self.optimizer.step).parameters.items()
            if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
        ]
        if required:
            raise ConfigError(
                f"{self._name} needs a {', '.join(required)} in its step(), but bsscale calls "
                "step() without arguments",
                "give an optimizer whose step() evaluates no loss again, as torch.optim.LBFGS does",
            )
        if not all("lr" in group for group in self.optimizer.param_groups):
            raise ConfigError(
                f"{self._name} has no lr in its parameter groups for the schedule to set",
                'derive it from torch.optim.Optimizer with defaults={"lr": lr, ...}, and let its '
                'step() read group["lr"]',
            )

    def train(self, lr: float = RATE, momentum: float | None = None) -> None:
        """Take some updates."""
        import torch

        from bsscale.schedules.torch_form import apply_rates

        for _ in range(UPDATES):
            angles = torch.arange(12.0).reshape(3, 4) + self._updates
            self.parameter.grad = torch.sin(angles)
            apply_rates(self.optimizer, lr, momentum)
            try:
                self.optimizer.step()
            except Exception as error:
                raise ConfigError(
                    f"{self._name} cannot take an update: {type(error).__name__}: {error}",
                    "its step() is called without arguments, after the dense gradient of the loss "
                    "was computed",
                ) from error
            self._updates += 1

    def load_state_of(self, other: _Trial) -> None:
        """Load the state of another trial, as a resumed run does."""
        import torch

        try:
            saved = {name: array.copy() for name, array in other._state.save().items()}
            self._state.load(saved)
        except Exception as error:
            raise ConfigError(
                f"the state of {self._name} cannot be written to a checkpoint: {error}",
                "keep it as tensors of NumPy's types, int, float or bool",
            ) from error
        with torch.no_grad():
            self.parameter.copy_(other.parameter)
        self._updates = other._updates
