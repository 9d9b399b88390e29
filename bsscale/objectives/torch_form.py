"""Objectives on torch tensors: losses, their derivatives, and metrics of many runs at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.func import grad
from torch.nn.functional import binary_cross_entropy_with_logits

from bsscale.objectives import Binary, Objective, Regression
from bsscale.objectives.binary import (
    accuracy,
    binary_cross_entropy,
    label_entropy,
    normalized_entropy,
    roc_auc,
)
from bsscale.objectives.metric import Metric
from bsscale.objectives.regression import mean_absolute_error, mean_squared_error, r2

__all__ = ["Error", "Form", "MetricsOfRuns", "error_of", "losses_of"]

# A function of the model's outputs and the labels, of one shape, that returns that shape.
Form: TypeAlias = Callable[[Tensor, Tensor], Tensor]
# The same, given the number of samples whose mean loss it is about.
Error: TypeAlias = Callable[[Tensor, Tensor, int], Tensor]


def losses_of(objective: Objective) -> Form:
    """The function for the loss of each sample: the objective's ``losses``, or a shipped one.

    Raises
    ------
    NotImplementedError
        If the objective has no loss.
    """
    own: Form | None = getattr(objective, "losses", None)
    return _shipped(objective)[0] if own is None else own


def error_of(objective: Objective) -> Error:
    """The derivative of the mean loss over so many samples, with respect to the outputs.

    If the objective has its own method ``losses``, automatic differentiation computes it.
    """
    own: Form | None = getattr(objective, "losses", None)
    if own is None:
        return _shipped(objective)[1]

    def error(output: Tensor, label: Tensor, samples: int) -> Tensor:
        of_sum: Tensor = grad(lambda values: own(values, label).sum())(output)
        return of_sum.div_(samples)

    return error


def _binary_losses(output: Tensor, label: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(output, label, reduction="none")


def _binary_error(output: Tensor, label: Tensor, samples: int) -> Tensor:
    return torch.sigmoid(output).sub_(label).div_(samples)


def _squared_losses(output: Tensor, label: Tensor) -> Tensor:
    return (output - label).square()


def _squared_error(output: Tensor, label: Tensor, samples: int) -> Tensor:
    return (output - label).mul_(2.0 / samples)


_FORMS: dict[type[Objective], tuple[Form, Error]] = {
    Binary: (_binary_losses, _binary_error),
    Regression: (_squared_losses, _squared_error),
}


def _shipped(objective: Objective) -> tuple[Form, Error]:
    for class_ in type(objective).__mro__:
        if class_ in _FORMS:
            return _FORMS[class_]
    raise NotImplementedError(f"{type(objective).__name__} has no method losses")


class MetricsOfRuns:
    """The metrics of many runs at once, on the device that has their outputs.

    Only metrics that ship have such a form. The AUC and the accuracy count in integers: they equal
    `roc_auc` and `accuracy` to the bit. The others differ by rounding, because a device adds in
    another order.

    Parameters
    ----------
    objective
        Whose metrics they are.
    label, weight
        Of one split, on the device, shape (n,).

    Attributes
    ----------
    names
        Of the metrics that have a form.
    """

    def __init__(self, objective: Objective, label: Tensor, weight: Tensor | None = None) -> None:
        self._split = split = _Split.of(label, weight)
        self._forms = {
            name: form
            for name, metric in objective.metrics.items()
            if (form := _METRICS.get(metric.function)) is not None
            and _takes_outputs(objective, metric)
            and (split.has_two_classes or not form.of_classes)
        }
        self._measures = list(dict.fromkeys(form.measure for form in self._forms.values()))
        self.names = frozenset(self._forms)

    def __call__(self, outputs: Tensor) -> dict[str, list[float | None]]:
        """The value of each metric for each run; None where an output, or the value, is not finite.

        Parameters
        ----------
        outputs
            Shape (runs, n).
        """
        if not self._forms:
            return {}
        runs, samples = outputs.shape
        some = torch.split(outputs, max(1, _JUDGED_ELEMENTS // max(1, samples)))
        found = torch.cat([self._measured(part) for part in some], dim=1).cpu().numpy()
        finite, measured = found[0], dict(zip(self._measures, found[1:], strict=True))
        values = {}
        for name, form in self._forms.items():
            numbers = form.value(measured[form.measure], self._split)
            values[name] = [
                float(numbers[run]) if finite[run] and math.isfinite(numbers[run]) else None
                for run in range(runs)
            ]
        return values

    def _measured(self, outputs: Tensor) -> Tensor:
        """Whether a run's outputs are finite, then the number of each measure: 64 bits each."""
        finite = outputs.isfinite().all(dim=1).to(torch.int64)
        rows = [measure(outputs, self._split).view(torch.int64) for measure in self._measures]
        return torch.stack([finite, *rows])


# Outputs that are judged together: so many that the sort of one part fits next to a model.
_JUDGED_ELEMENTS = 1 << 26


class _Split(NamedTuple):
    """The labels of a split, and what follows from them alone."""

    label: Tensor
    positive: Tensor
    positives: Tensor
    negatives: Tensor
    has_two_classes: bool
    entropy: float
    variance: float
    share: Tensor | None  # of each sample in a weighted mean

    @classmethod
    def of(cls, label: Tensor, weight: Tensor | None) -> _Split:
        weights = None if weight is None else weight.to(torch.float64)
        positive = label == 1
        on_host = label.to(torch.float64).cpu().numpy()
        two = bool(((on_host == 0) | (on_host == 1)).all()) and 0 < on_host.sum() < len(on_host)
        return cls(
            label.to(torch.float64),
            positive,
            positive.nonzero().squeeze(1),
            positive.logical_not().nonzero().squeeze(1),
            two,
            label_entropy(on_host, None if weights is None else weights.cpu().numpy())
            if two
            else math.nan,
            float(np.var(on_host)) if len(on_host) else 0.0,
            None if weights is None else weights / weights.sum(),
        )


class _MetricForm(NamedTuple):
    """A metric in two parts: a number for each run, int64 or float64, and its value from these."""

    measure: Callable[[Tensor, _Split], Tensor]
    value: Callable[[npt.NDArray[np.int64], _Split], npt.NDArray[np.float64]]
    of_classes: bool  # whether labels must be 0 and 1, and both occur


def _floats(row: npt.NDArray[np.int64], split: _Split) -> npt.NDArray[np.float64]:
    return row.view(np.float64)


def _won_twice(outputs: Tensor, split: _Split) -> Tensor:
    """Twice the pairs that positives win, a tie counting one."""
    winners = outputs.index_select(1, split.positives)
    losers = outputs.index_select(1, split.negatives).sort(dim=1).values
    lower = torch.searchsorted(losers, winners).sum(dim=1)
    return lower + torch.searchsorted(losers, winners, right=True).sum(dim=1)


def _auc(row: npt.NDArray[np.int64], split: _Split) -> npt.NDArray[np.float64]:
    # (integers of Python, as in roc_auc: their quotient is rounded once, whatever their size)
    pairs = 2 * len(split.positives) * len(split.negatives)
    return np.array([int(won) / pairs for won in row])


def _cross_entropy(outputs: Tensor, split: _Split) -> Tensor:
    values = outputs.to(torch.float64)
    against = torch.where(split.positive, -values, values)
    losses = against.clamp(min=0.0) + against.abs().neg().exp().log1p()
    return losses.mean(dim=1) if split.share is None else losses.mul_(split.share).sum(dim=1)


def _normalized(row: npt.NDArray[np.int64], split: _Split) -> npt.NDArray[np.float64]:
    return row.view(np.float64) / split.entropy


def _right(outputs: Tensor, split: _Split) -> Tensor:
    return ((outputs > 0) == split.positive).sum(dim=1)


def _share(row: npt.NDArray[np.int64], split: _Split) -> npt.NDArray[np.float64]:
    return row / len(split.label)


def _squared(outputs: Tensor, split: _Split) -> Tensor:
    return (outputs.to(torch.float64) - split.label).square().mean(dim=1)


def _explained(row: npt.NDArray[np.int64], split: _Split) -> npt.NDArray[np.float64]:
    return 1.0 - row.view(np.float64) / (split.variance or math.nan)


def _absolute(outputs: Tensor, split: _Split) -> Tensor:
    return (outputs.to(torch.float64) - split.label).abs().mean(dim=1)


_METRICS: Mapping[object, _MetricForm] = {
    roc_auc: _MetricForm(_won_twice, _auc, True),
    binary_cross_entropy: _MetricForm(_cross_entropy, _floats, True),
    normalized_entropy: _MetricForm(_cross_entropy, _normalized, True),
    accuracy: _MetricForm(_right, _share, True),
    mean_squared_error: _MetricForm(_squared, _floats, False),
    mean_absolute_error: _MetricForm(_absolute, _floats, False),
    r2: _MetricForm(_squared, _explained, False),
}


def _takes_outputs(objective: Objective, metric: Metric) -> bool:
    """Whether the metric is of the outputs as they are, in an objective that judges as ours do."""
    class_ = type(objective)
    if class_.evaluate is not Objective.evaluate or class_.value is not Objective.value:
        return False
    return metric.of_outputs or class_.score is Regression.score
