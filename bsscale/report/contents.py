"""The contents of a report, for all its forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bsscale.report.answer import Answer
from bsscale.report.charts.figure import Figure
from bsscale.report.screen import Row
from bsscale.report.tables import Table

__all__ = ["Contents"]


@dataclass(frozen=True)
class Contents:
    """The contents of a report, in order."""

    title: str
    setting: str
    answers: Sequence[Answer]
    rows: Sequence[Row]
    samples_title: str
    verdict: str
    warnings: Sequence[str]
    arms: Table
    verdicts: Sequence[tuple[str, str]]
    limits: Sequence[str]
    intervals: Sequence[Table]
    figures: Sequence[Figure]
    plans: Sequence[tuple[str, Sequence[str], Table]]
    differ: Table
    common: Table
    columns: Table
    versions: Table
    cost: str
    left_out: Table
    commands: Sequence[str]
