"""What a user may bring: data with a number as label, an objective, a metric, and wrong ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.functional import huber_loss, softplus

from bsscale.data import Dataset, Samples, Schema
from bsscale.data.dataset import ArrayStream
from bsscale.data.synthetic import load
from bsscale.objectives import Binary, Metric, Objective, Regression


def prices(labels: str = "number", **arguments: Any) -> Dataset:
    """Clicks whose label is replaced by a number that the features tell, or by something wrong."""
    clicks = load(**{"categorical_fields": 4, "cardinality": 50, "numeric_fields": 3, **arguments})

    def relabelled(samples: Samples) -> Samples:
        number = samples.numeric[:, 0] + 0.5 * samples.categorical[:, 0] / 50 + samples.label
        wrong = {"constant": 1.0 + 0 * number, "nan": np.nan + number, "one_two": 1 + samples.label}
        return Samples(
            samples.categorical, samples.numeric, wrong.get(labels, number).astype(np.float32)
        )

    train = relabelled(clicks.train.read(0, 0, 4000))
    return Dataset(
        Schema(("c0", "c1", "c2", "c3"), (51,) * 4, ("n0", "n1", "n2")),
        ArrayStream(train),
        relabelled(clicks.validation[:1500]),
        relabelled(clicks.test[:1000]),
    )


@dataclass(frozen=True)
class Huber(Regression):
    """Squared error near the label, absolute error far from it."""

    delta: float = 1.0

    def losses(self, output: Tensor, label: Tensor) -> Tensor:
        return huber_loss(output, label, reduction="none", delta=self.delta)


@dataclass(frozen=True)
class Softplus(Binary):
    """The logistic loss in the user's own words."""

    def losses(self, output: Tensor, label: Tensor) -> Tensor:
        return softplus(output) - label * output


def within_one(label: np.ndarray[Any, Any], score: np.ndarray[Any, Any], by: float = 1.0) -> float:
    """A metric of the user's: the share of predictions that are at most `by` away."""
    return float(np.mean(np.abs(label - score) <= by))


def quantile_90(label: np.ndarray[Any, Any], score: np.ndarray[Any, Any]) -> float:
    return float(np.quantile(np.abs(label - score), 0.9))


@dataclass(frozen=True)
class FromScratch(Objective):
    """An objective that shares nothing with a shipped one."""

    loss = "quantile_90"

    @property
    def own_metrics(self) -> list[Metric]:
        return [Metric("quantile_90", "min", quantile_90)]

    def score(self, output: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return output

    def check_labels(self, label: np.ndarray[Any, Any], where: str) -> None:
        pass

    def losses(self, output: Tensor, label: Tensor) -> Tensor:
        return (output - label).abs()


@dataclass(frozen=True)
class WithoutLosses(FromScratch):
    losses = None  # type: ignore[assignment]


@dataclass(frozen=True)
class WithAnUnknownLoss(FromScratch):
    loss = "something"


@dataclass(frozen=True)
class WithANameOfTheFormat(FromScratch):
    loss = "step"

    @property
    def own_metrics(self) -> list[Metric]:
        return [Metric("step", "min", quantile_90)]


class NoObjective:
    pass


def broken(label: object, score: object) -> float:
    raise ValueError("it wants three arguments")


def a_vector(label: Any, score: Any) -> Any:
    return np.abs(label - score)


@dataclass(frozen=True)
class MeanLoss(Regression):
    def losses(self, output: Tensor, label: Tensor) -> Tensor:
        return (output - label).square().mean()


@dataclass(frozen=True)
class WithoutGradient(Regression):
    def losses(self, output: Tensor, label: Tensor) -> Tensor:
        return (output.detach() - label).square()


@dataclass(frozen=True)
class OfTheWholeBatch(Regression):
    def losses(self, output: Tensor, label: Tensor) -> Tensor:
        return (output - label).square() / label.var()


@dataclass(frozen=True)
class ThatRaises(Regression):
    def losses(self, output: Tensor, label: Tensor) -> Tensor:
        raise ValueError("no idea")


@dataclass(frozen=True)
class Misspelt(Regression):
    def loses(self, output: Tensor, label: Tensor) -> Tensor:
        return (output - label).abs()


@dataclass(frozen=True)
class WithoutAuc(Binary):
    """Binary labels, judged by the log loss alone."""

    @property
    def own_metrics(self) -> list[Metric]:
        return [Binary().metric("log_loss")]
