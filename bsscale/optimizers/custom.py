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

# Before the first update a schedule sets it: what an optimizer is made with is never used.
PLACEHOLDER_LR = 1e-3
# A range test begins a decade below where a search does, and ends a decade above it.
DECADE = 10.0


@dataclass
class CustomConfig(OptimizerConfig):
    """Any torch.optim.Optimizer, by the import path of its class or of a function that makes one.

    It is trained by its own step(), run by run. A schedule moves ``lr`` in its parameter groups,
    and as momentum the first of ``betas``, or else ``momentum``.

    Attributes
    ----------
    options
        Keyword arguments of the target; every option that has no field of its own.
    search_range
        Between which learning rates a study's search begins; a range test runs from a tenth of the
        lower one to ten times the higher one.
    """

    name: str = "custom"
    _target_: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    # (of the shipped classes it is an attribute of the class, and here it is an option)
    search_range: list[float] | None = None  # type: ignore[assignment,misc]

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
                    f"optimizer.{option}={self.options[option]} is not for an optimizer to have",
                    f"leave it out: {why}",
                )
        if self.search_range is not None:
            self._check_range(self.search_range)
        _ = self._behaviour

    def torch_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        from torch.optim import Optimizer

        target = self._imported()
        options = self._arguments(target)
        called = self._called(options)
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
                f"it is not known which learning rates suit {self._target_}",
                "give optimizer.search_range=[LOWEST,HIGHEST], e.g. [1e-4,1e-1]: a search begins "
                "there, and a range test a factor 10 beyond on either side",
            )
        low, high = self.search_range
        return low, high

    def rates_to_test(self) -> tuple[float, float]:
        low, high = self.rates_to_search()
        return low / DECADE, high * DECADE

    @cached_property
    def _behaviour(self) -> Behaviour:
        """What a trial shows; raises ConfigError for an optimizer that cannot train here."""
        return examine(self.torch_optimizer, f"optimizer._target_={self._target_}")

    def _imported(self) -> Callable[..., Any]:
        from torch.optim import Optimizer

        target = checks.imported("optimizer._target_", self._target_, "torch.optim.RMSprop")
        if inspect.isclass(target) and not issubclass(target, Optimizer):
            raise ConfigError(
                f"optimizer._target_={self._target_} is a class, and no torch.optim.Optimizer",
                "name a class derived from torch.optim.Optimizer, or a function that returns one",
            )
        return target

    def _arguments(self, target: Callable[..., Any]) -> dict[str, Any]:
        """The options, with the weight decay where the target knows one."""
        takes = "weight_decay" in checks.parameters_of(target)
        decay = {"weight_decay": self.weight_decay} if takes or self.weight_decay else {}
        return {**self.options, **decay}

    def _called(self, options: Mapping[str, Any]) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        return f"optimizer._target_={self._target_} called with ({given})"

    @staticmethod
    def _check_range(bounds: list[float]) -> None:
        if len(bounds) != 2 or not 0 < bounds[0] < bounds[1] < float("inf"):
            raise ConfigError(
                f"optimizer.search_range={bounds} is no range of learning rates",
                "give two positive rates, the lower one first: optimizer.search_range=[1e-4,1e-1]",
            )
