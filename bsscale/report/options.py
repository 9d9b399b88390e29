"""The options of task=report and task=show_schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bsscale.config import TaskConfig

__all__ = ["ReportTask", "ShowScheduleTask"]


@dataclass
class ReportTask(TaskConfig):
    """task=report.

    Attributes
    ----------
    runs
        Directories of studies, multiruns, range tests or runs, or of what holds them: a path, a
        glob, or a list of them.
    out
        Where to write; None: the output directory.
    baseline
        Label of the arm that ratios refer to; None: the study's baseline, else the only arm at one
        GPU, else the best.
    """

    name: str = "report"
    runs: Any = None
    out: str | None = None
    baseline: str | None = None


@dataclass
class ShowScheduleTask(TaskConfig):
    """task=show_schedule.

    Attributes
    ----------
    show_samples
        How far to draw, in samples; None: one pass, or as much longer as the schedule is.
    """

    name: str = "show_schedule"
    show_samples: int | None = None
