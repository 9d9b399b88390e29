"""The options of task=report and task=show_schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bsscale.config import TaskOptions

__all__ = ["ColumnOptions", "ReportOptions", "ShowScheduleOptions"]


@dataclass
class ColumnOptions:
    """The names under which curves from elsewhere have what is read."""

    arm: str = "arm"
    seed: str = "seed"
    samples: str | None = None
    metric: str | None = None


@dataclass
class ReportOptions(TaskOptions):
    """task=report."""

    name: str = "report"
    runs: Any = None
    out: str | None = None
    baseline: str | None = None
    metric: str | None = None
    direction: str | None = None
    target: float | None = None
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    samples_per_step: Any = None
    layout: str | None = None


@dataclass
class ShowScheduleOptions(TaskOptions):
    """task=show_schedule."""

    name: str = "show_schedule"
    show_samples: int | None = None
