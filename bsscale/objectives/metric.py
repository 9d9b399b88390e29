"""Metrics, by which runs are judged: name, direction, scale and value at chance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from bsscale.errors import MetricError

__all__ = ["Criterion", "Direction", "Floats", "Metric"]

Direction: TypeAlias = Literal["max", "min"]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]

# The margin of the default target, as a share of the distance from the best value to chance, for
# metrics without a margin of their own.
MARGIN_SHARE = 0.02

_TITLES = {
    "auc": "AUC",
    "mse": "MSE",
    "mae": "MAE",
    "r2": "R2",
}


@dataclass(frozen=True)
class Criterion:
    """The name and the direction of a metric, which are all that a record has of it.

    Attributes
    ----------
    name
        The name in records, for instance ``log_loss``.
    direction
        ``max`` if higher values are better, ``min`` if lower values are.
    """

    name: str
    direction: Direction

    @property
    def title(self) -> str:
        """The name in sentences, tables and figures: ``AUC``, ``log loss``."""
        return _TITLES.get(self.name, self.name.replace("_", " "))

    @property
    def sign(self) -> int:
        """1 if higher values are better, −1 if lower values are."""
        return 1 if self.direction == "max" else -1

    @property
    def best_word(self) -> str:
        """``highest`` or ``lowest``."""
        return "highest" if self.direction == "max" else "lowest"

    def reaches(self, value: float | None, target: float | None) -> bool:
        """Whether a value is equal to the target or better; false for None and NaN."""
        if value is None or target is None:
            return False
        return value >= target if self.direction == "max" else value <= target

    def best(self, values: Iterable[float | None]) -> float | None:
        """The best of the values that are defined; None if there is none."""
        defined = [value for value in values if value is not None and math.isfinite(value)]
        return max(defined, key=lambda value: self.sign * value, default=None)

    def target(self, best_values: Sequence[float], margin: float) -> float:
        """The target from tuned 1-GPU runs: their median best value, made worse by a margin."""
        return statistics.median(best_values) - self.sign * margin


@dataclass(frozen=True)
class Metric(Criterion):
    """A metric that an objective computes on a held-out split.

    Attributes
    ----------
    function
        The function of labels and scores, both of shape (n,), that returns the metric's value. The
        scores are the objective's `Objective.score` of the model's outputs, or the outputs
        themselves if `of_outputs` is set.
    of_outputs
        Whether the function takes the model's outputs (logits).
    takes_weights
        Whether weights of the samples, shape (n,), may be the third argument of the function, and
        the second one of `at_chance`. Other metrics count all samples alike.
    at_chance
        The function of the labels, shape (n,), that returns the value of the best prediction
        without any feature; None if it is not known.
    bound
        The function of the labels that returns the value beyond which a model is better than
        chance and its noise; None: not known, and the loss alone says what is back at chance.
    limits
        The worst and the perfect value; a target must be between them.
    margin
        The distance of the default target from the best value, in the metric's units; None: 0.02 of
        the distance to chance.
    """

    function: Callable[..., float]
    of_outputs: bool = False
    at_chance: Callable[..., float] | None = None
    bound: Callable[[Floats], float] | None = None
    limits: tuple[float, float] = (-math.inf, math.inf)
    margin: float | None = None
    takes_weights: bool = False

    @property
    def criterion(self) -> Criterion:
        """Its name and direction alone."""
        return Criterion(self.name, self.direction)

    def of(self, label: Floats, score: Floats, weight: Floats | None = None) -> float:
        """The value for some labels and scores, with the weights of the samples if it takes any."""
        if weight is None or not self.takes_weights:
            return float(self.function(label, score))
        return float(self.function(label, score, weight))

    def chance(self, label: Floats, weight: Floats | None = None) -> float | None:
        """The value of the best prediction without any feature; None if it is not known."""
        if self.at_chance is None:
            return None
        if weight is None or not self.takes_weights:
            return self.at_chance(label)
        return self.at_chance(label, weight)

    def chance_bound(self, label: Floats) -> float | None:
        """The value beyond which a model is better than chance; None if it is not known."""
        return None if self.bound is None else self.bound(label)

    @property
    def has_scale(self) -> bool:
        """Whether a default margin is known: from its own margin, or its value at chance."""
        return self.margin is not None or self.at_chance is not None

    def default_margin(
        self, best_values: Sequence[float], label: Floats, weight: Floats | None = None
    ) -> float:
        """The distance of the default target from the median best value.

        Parameters
        ----------
        best_values
            The best value of each tuned 1-GPU run, at least one.
        label, weight
            Of the validation samples, shape (n,).

        Raises
        ------
        MetricError
            If the metric has neither a margin nor a value at chance.
        """
        if self.margin is not None:
            return self.margin
        chance = self.chance(label, weight)
        if chance is None:
            raise MetricError(
                f"the metric {self.name} has neither a margin nor a value at chance, so no "
                "target can be computed from 1-GPU runs",
                f"give target=VALUE, or objective.metrics.{self.name}.margin=NUMBER",
            )
        return MARGIN_SHARE * abs(chance - statistics.median(best_values))
