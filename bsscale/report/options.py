"""The options of task=report and task=show_schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bsscale.config import TaskOptions

__all__ = ["ReportOptions", "ShowScheduleOptions"]


@dataclass
class ReportOptions(TaskOptions):
    """task=report."""

    name: str = "report"
    runs: Any = None
    out: str | None = None
    baseline: str | None = None


@dataclass
class ShowScheduleOptions(TaskOptions):
    """task=show_schedule."""

    name: str = "show_schedule"
    show_samples: int | None = None
