"""objective=binary: labels 0 and 1, logistic loss, judged by the exact AUC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bsscale.errors import MetricError
from bsscale.objectives.binary import (
    accuracy,
    binary_cross_entropy,
    chance_auc_bound,
    label_entropy,
    majority_share,
    normalized_entropy,
    roc_auc,
)
from bsscale.objectives.divergence import DivergenceDetector
from bsscale.objectives.metric import Floats, Metric
from bsscale.objectives.objective import Objective

__all__ = ["Binary"]

_METRICS = (
    Metric(
        "auc",
        "max",
        roc_auc,
        of_outputs=True,
        at_chance=lambda label: 0.5,
        bound=chance_auc_bound,
        limits=(0.5, 1.0),
        margin=0.005,
    ),
    Metric(
        "log_loss",
        "min",
        binary_cross_entropy,
        of_outputs=True,
        at_chance=label_entropy,
        takes_weights=True,
        limits=(math.inf, 0.0),
    ),
    Metric(
        "normalized_entropy",
        "min",
        normalized_entropy,
        of_outputs=True,
        at_chance=lambda label, weight=None: 1.0,
        takes_weights=True,
        limits=(1.0, 0.0),
    ),
    Metric(
        "accuracy",
        "max",
        accuracy,
        of_outputs=True,
        at_chance=majority_share,
        limits=(0.0, 1.0),
    ),
)


@dataclass(frozen=True)
class Binary(Objective):
    """The mean binary cross-entropy of logits: log(1 + e^z) − y·z for a label y and a logit z."""

    name: str = "binary"

    loss = "log_loss"
    chance_words = "the label's entropy"

    @property
    def own_metrics(self) -> Sequence[Metric]:
        return _METRICS

    def score(self, output: Floats) -> Floats:
        """The probability of a 1."""
        values = output.astype(np.float64)
        small = np.exp(-np.abs(values))  # (no overflow, whatever the sign)
        return np.where(values >= 0, 1.0, small) / (1.0 + small)

    def check_labels(self, label: Floats, where: str) -> None:
        wrong = ~((label == 0) | (label == 1))
        if wrong.any():
            values = np.unique(label[: 1 << 20])[:5]
            shown = ", ".join(f"{value:g}" for value in values)
            raise MetricError(
                f"the label {float(label[np.argmax(wrong)]):g} occurs in {where} (values {shown}"
                f"{', …' if len(values) == 5 else ''}), and objective=binary takes 0 and 1",
                "give dataset.positive=VALUE for the value that counts as 1, or "
                "objective=regression for a number",
            )
        self.refuse_constant(
            label,
            where,
            "the AUC compares two classes",
            "give more rows, or a split with both classes",
        )

    def divergence(self, label: Floats, weight: Floats | None = None) -> DivergenceDetector:
        if "auc" not in self.metrics:  # (a derived class may have other metrics)
            return super().divergence(label, weight)
        return DivergenceDetector(
            self.loss,
            self.loss_at_chance(label, weight),
            self.chance_words,
            ("auc", chance_auc_bound(label), "AUC"),
        )
