"""What is known of the optimizer of somebody else's training script."""

from __future__ import annotations

from dataclasses import dataclass

from bsscale.errors import ConfigError
from bsscale.optimizers.optimizer import OptimizerConfig

__all__ = ["ScriptOptimizer"]

# A range test begins a decade below where a search does, and ends a decade above it.
DECADE = 10.0


@dataclass
class ScriptOptimizer(OptimizerConfig):
    """The optimizer of a script: bsscale never sees it, and gives it rates and a momentum.

    Attributes
    ----------
    momentum
        SGD's momentum or Adam's beta1, which a cycle moves; None: it is left alone.
    search_range
        The first range of learning rates of a study's search; None: not known.
    """

    name: str = "script"
    momentum: float | None = None
    # (an attribute of the shipped classes, and here an option)
    search_range: list[float] | None = None  # type: ignore[assignment,misc]

    ships = False
    momentum_option = "momentum"

    def check(self) -> None:
        if self.momentum is not None and not 0 <= self.momentum < 1:
            raise ConfigError(
                f"trainer.momentum={self.momentum} is outside [0, 1)",
                "momentum is the share of the last update that is kept; 0.9 is common",
            )
        bounds = self.search_range
        if bounds is None:
            return
        if len(bounds) != 2 or not 0 < bounds[0] < bounds[1] < float("inf"):
            raise ConfigError(
                f"trainer.search_range={bounds} is not a range of learning rates",
                "give two positive rates, the lower one first: trainer.search_range=[1e-4,1e-1]",
            )

    def rates_to_search(self) -> tuple[float, float]:
        if self.search_range is None:
            raise ConfigError(
                "the range of learning rates of a script is not known",
                "give trainer.search_range=[LOWEST,HIGHEST], e.g. [1e-4,1e-1]: a search begins "
                "with this range, and a range test extends it by a factor of 10 on both sides",
            )
        low, high = self.search_range
        return low, high

    def rates_to_test(self) -> tuple[float, float]:
        low, high = self.rates_to_search()
        return low / DECADE, high * DECADE
