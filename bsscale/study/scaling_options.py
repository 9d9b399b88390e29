"""The options of task=scaling."""

from __future__ import annotations

from dataclasses import dataclass

from bsscale.config import TaskOptions

__all__ = ["ScalingOptions"]


@dataclass
class ScalingOptions(TaskOptions):
    """task=scaling."""

    name: str = "scaling"
    points: str | None = None
