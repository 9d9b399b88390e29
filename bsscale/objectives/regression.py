"""objective=regression: prediction of a number, with the squared error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bsscale.errors import MetricError
from bsscale.objectives.metric import Floats, Metric
from bsscale.objectives.objective import Objective

__all__ = ["Regression", "mean_absolute_error", "mean_squared_error", "r2"]


def mean_squared_error(label: Floats, score: Floats) -> float:
    r""":math:`\frac1n \sum_i (z_i - y_i)^2`, in float64; both of shape (n,)."""
    return float(np.mean(np.square(score.astype(np.float64) - label)))


def mean_absolute_error(label: Floats, score: Floats) -> float:
    r""":math:`\frac1n \sum_i |z_i - y_i|`, in float64; both of shape (n,)."""
    return float(np.mean(np.abs(score.astype(np.float64) - label)))


def r2(label: Floats, score: Floats) -> float:
    r"""The share of the labels' variance that is explained: 1 − MSE / variance; both (n,).

    Not finite if all labels are equal, like `sklearn.metrics.r2_score` with
    ``force_finite=False``.
    """
    spread = _variance(label)
    return 1.0 - mean_squared_error(label, score) / spread if spread else math.nan


def _variance(label: Floats) -> float:
    return float(np.var(label.astype(np.float64)))


def _deviation(label: Floats) -> float:
    """The mean absolute error of the best constant, which is the median."""
    values = label.astype(np.float64)
    return float(np.mean(np.abs(values - np.median(values))))


_METRICS = (
    Metric("mse", "min", mean_squared_error, at_chance=_variance, limits=(math.inf, 0.0)),
    Metric("mae", "min", mean_absolute_error, at_chance=_deviation, limits=(math.inf, 0.0)),
    Metric("r2", "max", r2, at_chance=lambda label: 0.0, limits=(-math.inf, 1.0)),
)


@dataclass(frozen=True)
class Regression(Objective):
    """The mean squared error of the model's output: (z − y)² for a label y and an output z.

    Labels are not scaled. Scale a label of large numbers, because it makes the first updates large.
    """

    name: str = "regression"

    loss = "mse"
    chance_words = "the label's variance"

    @property
    def own_metrics(self) -> Sequence[Metric]:
        return _METRICS

    def score(self, output: Floats) -> Floats:
        return output.astype(np.float64)

    def check_labels(self, label: Floats, where: str) -> None:
        if not np.isfinite(label).all():
            raise MetricError(
                f"a label in {where} is {label[np.argmin(np.isfinite(label))]}",
                "give finite numbers as labels",
            )
        self.refuse_constant(label, where, "there is nothing to predict", "give more rows")
