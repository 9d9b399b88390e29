"""A held-out split on the device, and the outputs of all runs for it."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bsscale.data import Samples
from bsscale.engines.outputs import HostOutputs
from bsscale.engines.stacked.feed import Batches
from bsscale.objectives import Objective
from bsscale.objectives.metric import Metric
from bsscale.objectives.torch_form import MetricsOfRuns

__all__ = ["DeviceOutputs", "HeldOut"]


class HeldOut:
    """A split, kept on the device.

    Parameters
    ----------
    samples
        The split.
    device, dtype
        Where it is kept, and the type of its numbers.
    objective
        What judges the outputs.
    """

    def __init__(
        self, samples: Samples, device: torch.device, dtype: torch.dtype, objective: Objective
    ) -> None:
        samples.verify()
        self.samples, self.objective = samples, objective
        self.batches = Batches.of(samples, device, dtype)

    @cached_property
    def metrics(self) -> MetricsOfRuns:
        """What judges outputs that are on the device."""
        return MetricsOfRuns(self.objective, self.batches.label, self.batches.weight)


class DeviceOutputs:
    """The outputs of all runs, judged together on the device that has them.

    What the device cannot judge is judged on the host, to which the outputs are copied then.

    Parameters
    ----------
    held_out
        The split.
    outputs
        Shape (width, n).
    """

    def __init__(self, held_out: HeldOut, outputs: Tensor) -> None:
        self._held_out, self._outputs = held_out, outputs
        self._values = held_out.metrics(outputs)

    def metrics(self, slot: int, objective: Objective) -> dict[str, float | None]:
        """Every metric of a slot's outputs."""
        if not objective.metrics.keys() <= self._known(objective):
            return self._on_host.metrics(slot, objective)
        return {name: self._values[name][slot] for name in objective.metrics}

    def value(self, slot: int, objective: Objective, metric: Metric) -> float | None:
        """One metric of a slot's outputs."""
        if metric.name not in self._known(objective):
            return self._on_host.value(slot, objective, metric)
        return self._values[metric.name][slot]

    def _known(self, objective: Objective) -> frozenset[str]:
        """The metrics that the device has judged."""
        same = objective == self._held_out.objective
        return self._held_out.metrics.names if same else frozenset()

    @cached_property
    def _on_host(self) -> HostOutputs:
        outputs: npt.NDArray[np.float64] = self._outputs.to(torch.float64).cpu().numpy()
        samples = self._held_out.samples
        return HostOutputs(samples.label, outputs, samples.weight)
