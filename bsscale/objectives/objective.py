"""Objectives: the loss that training minimizes, and the metrics that judge a run."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np

from bsscale.errors import MetricError
from bsscale.objectives.divergence import DivergenceDetector
from bsscale.objectives.metric import Floats, Metric

__all__ = ["Objective"]

O = TypeVar("O", bound="Objective")  # noqa: E741


@dataclass(frozen=True)
class Objective(ABC):
    """A loss with its metrics, as an immutable value.

    An objective of your own derives from this class, `Binary` or `Regression` and defines
    ``losses(output, label)``, which takes torch tensors of one shape and returns the loss of each
    sample, of the same shape and differentiable. `bsscale.objectives.torch_form` has the losses of
    the shipped objectives.

    Attributes
    ----------
    name
        The name in records.
    added
        Metrics besides the objective's own.
    loss
        The name of the metric that is the validation loss: a run whose loss stays above its value
        at chance has diverged.
    """

    name: str = ""
    added: tuple[Metric, ...] = ()

    loss: ClassVar[str]
    # The loss of the best constant prediction, in words.
    chance_words: ClassVar[str] = "the loss of a constant prediction"

    @property
    @abstractmethod
    def own_metrics(self) -> Sequence[Metric]:
        """The metrics of every run; the first one judges it, unless ``metric`` names another."""

    @abstractmethod
    def score(self, output: Floats) -> Floats:
        """The prediction of the label from the model's output, shape (n,), float64."""

    @abstractmethod
    def check_labels(self, label: Floats, where: str) -> None:
        """Raise MetricError for labels that the loss or a metric cannot take.

        Parameters
        ----------
        label
            Shape (n,).
        where
            The origin of the labels, for the message: "the validation split".
        """

    @staticmethod
    def refuse_constant(label: Floats, where: str, why: str, remedy: str) -> None:
        """Raise MetricError where all labels are equal, or there are none.

        Parameters
        ----------
        label, where
            As for `check_labels`.
        why, remedy
            What they are needed for, and what to do.
        """
        if len(label) and label.min() != label.max():
            return
        only = f"every label is {label[0]:g}" if len(label) else "there is no label"
        raise MetricError(f"{only} in {where}: {why}", remedy)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Every metric by its name, the default one first."""
        return {metric.name: metric for metric in (*self.own_metrics, *self.added)}

    def metric(self, name: str | None) -> Metric:
        """One of the metrics; None: the default one.

        Raises
        ------
        MetricError
            If there is no metric of that name.
        """
        metrics = self.metrics
        if name is None:
            return next(iter(metrics.values()))
        if name not in metrics:
            raise MetricError(
                f"metric={name} is not a metric of objective={self.name}",
                f"give {' or '.join(metrics)}",
            )
        return metrics[name]

    def with_metrics(self: O, added: Sequence[Metric]) -> O:
        """The same objective with further metrics."""
        return replace(self, added=(*self.added, *added))

    def evaluate(
        self, label: Floats, output: Floats, weight: Floats | None = None
    ) -> dict[str, float | None]:
        """Every metric of a model's outputs.

        Parameters
        ----------
        label, output
            Shape (n,).
        weight
            Of the samples, shape (n,), for the metrics that take weights; None: all alike.

        Returns
        -------
        The values by name; None where an output, or the value, is not finite.
        """
        if not np.isfinite(output).all():
            return dict.fromkeys(self.metrics)
        score = self.score(output)
        values = {
            name: metric.of(label, output if metric.of_outputs else score, weight)
            for name, metric in self.metrics.items()
        }
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    def value(
        self, metric: Metric, label: Floats, output: Floats, weight: Floats | None = None
    ) -> float | None:
        """One metric of a model's outputs; None if it is not defined."""
        if not np.isfinite(output).all():
            return None
        value = metric.of(label, output if metric.of_outputs else self.score(output), weight)
        return value if math.isfinite(value) else None

    def divergence(self, label: Floats, weight: Floats | None = None) -> DivergenceDetector:
        """The detector of divergence for one run; `label` and `weight` are of validation."""
        return DivergenceDetector(self.loss, self.loss_at_chance(label, weight), self.chance_words)

    def loss_at_chance(self, label: Floats, weight: Floats | None = None) -> float:
        """The validation loss of the best constant prediction; infinite if it is not known."""
        chance = self.metrics[self.loss].chance(label, weight)
        return math.inf if chance is None else chance
