"""What a page about samples over batch is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bsscale.critical_batch import Scaling
from bsscale.report.charts.figure import Figure
from bsscale.report.tables import Table

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
    tables
        Further tables, such as time and cost.
    figures
        Further figures.
    sentences
        Further sentences of the verdict.
    commands
        What was typed.
    """

    title: str
    setting: str
    arms: Mapping[str, Scaling]
    batch_of_gpu: int | None = None
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    sentences: Sequence[str] = ()
    commands: Sequence[str] = field(default_factory=tuple)
