"""A model's outputs for a held-out split, and what the metrics say of them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from bsscale.objectives import Objective
from bsscale.objectives.metric import Metric

__all__ = ["HostOutputs", "Outputs"]


class Outputs(Protocol):
    """The outputs of every slot for one split."""

    def metrics(self, slot: int, objective: Objective) -> dict[str, float | None]:
        """Every metric of a slot's outputs, as `Objective.evaluate`."""
        ...

    def value(self, slot: int, objective: Objective, metric: Metric) -> float | None:
        """One metric of a slot's outputs, as `Objective.value`."""
        ...


class HostOutputs:
    """Outputs as an array, which NumPy judges run by run.

    Parameters
    ----------
    label
        Shape (n,).
    outputs
        Shape (width, n).
    weight
        Of the samples, shape (n,); None: all alike.
    """

    def __init__(
        self,
        label: npt.NDArray[np.float32],
        outputs: npt.NDArray[np.float64],
        weight: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self._label, self._outputs = label, outputs
        # (an objective of the user's own need not know of weights, and has none)
        self._weight = () if weight is None else (weight,)

    def metrics(self, slot: int, objective: Objective) -> dict[str, float | None]:
        """Every metric of a slot's outputs."""
        return objective.evaluate(self._label, self._outputs[slot], *self._weight)

    def value(self, slot: int, objective: Objective, metric: Metric) -> float | None:
        """One metric of a slot's outputs."""
        return objective.value(metric, self._label, self._outputs[slot], *self._weight)
