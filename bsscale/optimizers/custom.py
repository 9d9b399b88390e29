"""An optimizer of the user's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bsscale.errors import BsscaleError, ConfigError
from bsscale.optimizers.optimizer import OptimizerConfig
from bsscale.optimizers.trial import Behaviour, examine
from bsscale.schedules import checks

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

__all__ = ["CustomConfig"]

# A schedule sets the rate before the first update, so this value is never used.
PLACEHOLDER_LR = 1e-3
# A range test begins a decade below where a search does, and ends a decade above it.
DECADE = 10.0


@dataclass
class CustomConfig(OptimizerConfig):
    """Any torch.optim.Optimizer, by the import path of its class or of a function.

    Its own step() updates each run separately. A schedule sets ``lr`` in its parameter groups, and
    as momentum the first of ``betas``, or else ``momentum``.

    Attributes
    ----------
    options
        Keyword arguments of the target; every option that has no field of its own.
    search_range
        The first range of learning rates of a study's search. A range test runs from a tenth of the
        lower rate to ten times the higher one.
    """

    name: str = "custom"
    _target_: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    # (an attribute of the shipped classes, and here an option)
    search_range: list[float] | None = None  # type: ignore[assignment,misc]

    ships = False

    @property
    def momentum_now(self) -> float | None:
        return self._behaviour.momentum

    @property
    def follows_lr(self) -> bool:
        return self._behaviour.follows_lr

    def check(self) -> None:
        if self.sparse is True:
            raise ConfigError(
                "optimizer.sparse=true with optimizer=custom, whose step() updates every row",
                "leave it out",
            )
        for option, why in (
            ("lr", "the schedule sets the learning rate: give base_lr=RATE"),
            ("params", "it is given the model's parameters"),
            ("weight_decay", "give optimizer.weight_decay, outside optimizer.options"),
        ):
            if option in self.options:
                raise ConfigError(
                    f"optimizer.{option}={self.options[option]} is not an option of an optimizer",
                    f"leave it out: {why}",
                )
        if self.search_range is not None:
            self._check_range(self.search_range)
        _ = self._behaviour

    def torch_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        from torch.optim import Optimizer

        target = self._imported()
        options = self._arguments(target)
        called = self._call_text(options)
        try:
            optimizer = target(list(parameters), lr=PLACEHOLDER_LR, **options)
        except BsscaleError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())
            known = ", ".join(checks.parameters_of(target))
            raise ConfigError(
                f"{called} failed with {type(error).__name__}: {text}",
                "it is called with the parameters, lr and these options"
                + (f"; it takes {known}" if known else ""),
            ) from error
        if not isinstance(optimizer, Optimizer):
            raise ConfigError(
                f"{called} gave a {type(optimizer).__name__}, not a torch.optim.Optimizer",
                "let optimizer._target_ name a class derived from torch.optim.Optimizer, or a "
                "function that returns such an optimizer",
            )
        return optimizer

    def rates_to_search(self) -> tuple[float, float]:
        if self.search_range is None:
            raise ConfigError(
                f"the range of learning rates of {self._target_} is not known",
                "give optimizer.search_range=[LOWEST,HIGHEST], e.g. [1e-4,1e-1]: a search begins "
                "with this range, and a range test extends it by a factor of 10 on both sides",
            )
        low, high = self.search_range
        return low, high

    def rates_to_test(self) -> tuple[float, float]:
        low, high = self.rates_to_search()
        return low / DECADE, high * DECADE

    @cached_property
    def _behaviour(self) -> Behaviour:
        """The result of a trial; raises ConfigError for an optimizer that cannot be used."""
        return examine(self.torch_optimizer, f"optimizer._target_={self._target_}")

    def _imported(self) -> Callable[..., Any]:
        from torch.optim import Optimizer

        target = checks.imported("optimizer._target_", self._target_, "torch.optim.RMSprop")
        if inspect.isclass(target) and not issubclass(target, Optimizer):
            raise ConfigError(
                f"optimizer._target_={self._target_} is a class, but not a torch.optim.Optimizer",
                "name a class derived from torch.optim.Optimizer, or a function that returns one",
            )
        return target

    def _arguments(self, target: Callable[..., Any]) -> dict[str, Any]:
        """The options, with the weight decay if the target has such a parameter."""
        takes = "weight_decay" in checks.parameters_of(target)
        decay = {"weight_decay": self.weight_decay} if takes or self.weight_decay else {}
        return {**self.options, **decay}

    def _call_text(self, options: Mapping[str, Any]) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        return f"optimizer._target_={self._target_} called with ({given})"

    @staticmethod
    def _check_range(bounds: list[float]) -> None:
        if len(bounds) != 2 or not 0 < bounds[0] < bounds[1] < float("inf"):
            raise ConfigError(
                f"optimizer.search_range={bounds} is not a range of learning rates",
                "give two positive rates, the lower one first: optimizer.search_range=[1e-4,1e-1]",
            )
