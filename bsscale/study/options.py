"""The options of task=study and task=range_test."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

from bsscale.config import TaskOptions
from bsscale.errors import ConfigError
from bsscale.schedules.options import RangeTestConfig

__all__ = ["OWN", "RangeTestOptions", "StudyArm", "StudyOptions"]


DEFAULT_LOOKS = (10, 15, 20)
# Options of a run that an arm may have of its own.
OWN = ("cowclip", "cowclip_bound", "ema_half_life_samples")


@dataclass
class RangeTestOptions(TaskOptions):
    """task=range_test."""

    keeps_weights: ClassVar[bool] = False
    name: str = "range_test"
    ramp: RangeTestConfig = field(default_factory=lambda: RangeTestConfig(mode="exponential"))
    seeds: int = 3
    first_seed: int = 1_000_000
    evaluations: int = 100


@dataclass
class StudyArm:
    """One arm of a study: an entry of `StudyOptions.arms`.

    A schedule and a scaling rule are a name, or a name and options. The last ones are options of
    the arm's runs (`OWN`); null: those of the study.
    """

    schedule: dict[str, Any] = field(default_factory=dict)
    scaling: Any = "none"
    role: str = "arm"
    gpus: int | None = None
    rate: str = "base_lr"
    preset: bool = False
    cowclip: float | None = None
    cowclip_bound: float | None = None
    ema_half_life_samples: int | None = None


@dataclass
class StudyOptions(TaskOptions):
    """task=study. `work` and `part` are of a job that a study starts: a part of that work."""

    keeps_weights: ClassVar[bool] = False
    name: str = "study"
    arms: dict[str, Any] = field(default_factory=dict)
    directory: str | None = None
    seeds: int | str = 10
    looks: list[int] | None = None
    first_seed: int = 0
    trials: int = 12
    lowest_lr: float | None = None
    highest_lr: float | None = None
    tuning_seeds: int = 2
    finalist_seeds: int = 3
    target_seeds: int = 5
    range_test_seeds: int = 3
    momenta: list[float] | None = None
    margin: float | None = None
    adopt: str | None = None
    stop_hopeless: bool | None = None
    budget_factor: float = 8.0
    primary: str | None = None
    max_runs: int | None = None
    max_hours: float | None = None
    work: str | None = None
    part: int = 0

    def look_list(self) -> list[int]:
        """The numbers of seeds after which the study may stop; the last is the most."""
        if isinstance(self.seeds, int):
            return [self.seeds]
        return list(DEFAULT_LOOKS) if self.looks is None else list(self.looks)

    def seed_list(self) -> list[int]:
        """Of the report: the most that there may be."""
        return list(range(self.first_seed, self.first_seed + self.look_list()[-1]))

    def range_test_seed_list(self) -> list[int]:
        """Far from the seeds of reports."""
        return list(range(1_000_000, 1_000_000 + self.range_test_seeds))

    def tuning_seed_list(self) -> list[int]:
        """Far from the seeds of reports and of range tests."""
        seeds = max(self.tuning_seeds, self.finalist_seeds)
        return list(range(3_000_000, 3_000_000 + seeds))

    def target_seed_list(self) -> list[int]:
        """Far from all others."""
        return list(range(2_000_000, 2_000_000 + self.target_seeds))

    def momentum_list(self) -> list[float | None]:
        """Momenta that the searches of tuned arms try; None: the configured one."""
        return [None] if self.momenta is None else list(self.momenta)

    def check(self) -> None:
        """Raise ConfigError for values with which no study is possible."""
        self._check_looks()
        for key in ("tuning_seeds", "finalist_seeds", "target_seeds", "range_test_seeds"):
            if getattr(self, key) < 1:
                raise ConfigError(f"task.{key}={getattr(self, key)} is below 1", "give 1 or more")
        momenta = self.momentum_list()
        if not momenta or len(set(momenta)) < len(momenta):
            fault = "has one of them twice" if momenta else "is empty"
            raise ConfigError(
                f"task.momenta={self.momenta} {fault}",
                "give each momentum once, for instance task.momenta=[0.8,0.9,0.95], or null",
            )
        if self.trials < 3:
            raise ConfigError(
                f"task.trials={self.trials}: a best rate with neighbours on both sides needs at "
                "least 3 trials",
                "give task.trials=8 or more",
            )
        most = self.look_list()[-1]
        if not 0 <= self.first_seed <= 1_000_000 - most:
            raise ConfigError(
                f"task.first_seed={self.first_seed} with {most} seeds meets the seeds of "
                "range tests and searches",
                "give report seeds below 1,000,000",
            )
        low = 0 if self.lowest_lr is None else self.lowest_lr
        high = math.inf if self.highest_lr is None else self.highest_lr
        if not 0 <= low < high or low == math.inf or self.lowest_lr == 0:
            raise ConfigError(
                f"task.lowest_lr={self.lowest_lr}, task.highest_lr={self.highest_lr}",
                "give a positive lowest rate below the highest",
            )
        if self.margin is not None and not 0 <= self.margin < math.inf:
            raise ConfigError(
                f"task.margin={self.margin} is not a number of 0 or more",
                "give how far the target may lie from the best value, in the metric's units",
            )
        if self.max_runs is not None and self.max_runs < 1:
            raise ConfigError(f"task.max_runs={self.max_runs} is below 1", "give a number of runs")
        if self.max_hours is not None and not 0 < self.max_hours < math.inf:
            raise ConfigError(
                f"task.max_hours={self.max_hours} is not a positive number", "give hours"
            )
        if not 1 <= self.budget_factor < math.inf:
            raise ConfigError(
                f"task.budget_factor={self.budget_factor} is not a number of 1 or more",
                "give a finite budget factor of at least 1",
            )

    def _check_looks(self) -> None:
        """Raise ConfigError for numbers of seeds with which no study is possible."""
        if not isinstance(self.seeds, int) and self.seeds != "auto":
            raise ConfigError(f"task.seeds={self.seeds} is no number", "give a number, or auto")
        if self.seeds != "auto" and self.looks is not None:
            raise ConfigError(
                f"task.looks={self.looks} has no effect with task.seeds={self.seeds}",
                "leave it out, or give task.seeds=auto",
            )
        looks = self.look_list()
        rising = all(a < b for a, b in pairwise(looks))
        if not looks or looks[0] < 1 or not rising:
            given = f"task.looks={self.looks}" if self.seeds == "auto" else f"task.seeds={looks[0]}"
            raise ConfigError(
                f"{given} is {'below 1' if looks and looks[0] < 1 else 'not a rising list'}",
                "give 1 or more; looks rise, for instance task.looks=[10,15,20]",
            )
