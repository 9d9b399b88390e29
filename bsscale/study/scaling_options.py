"""The options of task=scaling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bsscale.config import TaskOptions

__all__ = ["ScalingOptions"]


@dataclass
class ScalingOptions(TaskOptions):
    """task=scaling. `work` and `part` are of a job that it starts, as those of a study."""

    name: str = "scaling"
    points: str | None = None
    gpus: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 16, 32, 64])
    arms: Any = field(default_factory=lambda: ["tuned_constant"])
    samples_per_s: Any = None
    directory: str | None = None
    seeds: int = 6
    first_seed: int = 0
    trials: int = 12
    lowest_lr: float | None = None
    highest_lr: float | None = None
    tuning_seeds: int = 2
    finalist_seeds: int = 3
    target_seeds: int = 5
    range_test_seeds: int = 3
    margin: float | None = None
    stop_hopeless: bool | None = None
    budget_factor: float = 8.0
    max_runs: int | None = None
    max_hours: float | None = None
    work: str | None = None
    part: int = 0
