"""What a page about samples over batch is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bsscale.critical_batch import Scaling
from bsscale.critical_batch.predictions import Scored

__all__ = ["ScalingContents"]


@dataclass(frozen=True)
class ScalingContents:
    """The arms, and what is known beside their points.

    Attributes
    ----------
    title, setting
        What the points are of: a name, and a sentence.
    arms
        By name.
    batch_of_gpu
        Samples in an update of one replica; None where the points have batches only.
    notes
        Sentences about the points: budgets that were filled in, columns that are not used.
    warnings
        Sentences that a reader must see first.
    predictions
        Of each arm: what its smaller batches have predicted for the larger ones.
    samples_per_s
        Throughput of a job, by the number of GPUs; None where it is not known.
    noise_scales
        Of each arm and batch: the gradient noise scale of each run that has measured it.
    commands
        What was typed.
    """

    title: str
    setting: str
    arms: Mapping[str, Scaling]
    batch_of_gpu: int | None = None
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    predictions: Mapping[str, Sequence[Scored]] = field(default_factory=dict)
    samples_per_s: Mapping[int, float] | None = None
    noise_scales: Mapping[str, Mapping[float, Sequence[float]]] = field(default_factory=dict)
    commands: Sequence[str] = ()
