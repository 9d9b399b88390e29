"""The typed configuration of one run: what the YAML files and the command line fill in.

This file holds what every task, tracker and executor has; the options of each one are beside it,
and the command line registers them. The comments in conf/ explain the options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from omegaconf import MISSING

from bsscale.optimizers import OptimizerConfig
from bsscale.schedules.options import ScheduleConfig
from bsscale.schedules.options.scaling import ScalingConfig

__all__ = ["Config", "ExecutorOptions", "TaskOptions", "TrackerOptions", "TrainerOptions"]


BINARY = {"name": "binary", "_target_": "bsscale.objectives.Binary", "metrics": {}}


@dataclass
class TaskOptions:
    """A task: the name of a file in conf/task/, and the options of the task.

    A task without options of its own trains one run: a report lists its jobs that left no record.

    Attributes
    ----------
    keeps_weights
        Whether its runs keep their weights, if ``weights=auto``.
    """

    name: str = MISSING
    keeps_weights: ClassVar[bool] = True


@dataclass
class ExecutorOptions:
    """Options of the executor."""

    name: str = MISSING
    device: str = "auto"
    threads: int = 1
    compile: bool | str = "auto"


@dataclass
class TrackerOptions:
    """Options of the tracker, which mirrors the records."""

    name: str = MISSING

    def check(self) -> None:
        """Raise ConfigError for values with which nothing could be mirrored."""


@dataclass
class TrainerOptions:
    """What trains a run: bsscale itself, with its data, models, optimizers and objectives.

    Attributes
    ----------
    ours
        Whether bsscale trains.
    replaces
        Options of a run that the trainer has in other places, and what to write instead.
    """

    name: str = MISSING

    ours: ClassVar[bool] = True
    replaces: ClassVar[Mapping[str, str]] = {}

    @property
    def speed(self) -> float | None:
        """Samples that a run trains on in a second, if the user knows; None: not known."""
        return None

    @property
    def described(self) -> str | None:
        """What trains, for a person; None: bsscale's executor."""
        return None

    def check(self) -> None:
        """Raise ConfigError for values with which nothing could be trained."""

    def completed(self, config: Config) -> Config:
        """The configuration of a run with the parts that this trainer gives it."""
        return config


@dataclass
class Config:
    """One run, as the user wrote it. `Plan` derives every other number from it."""

    task: TaskOptions = field(default_factory=TaskOptions)
    dataset: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    objective: dict[str, Any] = field(default_factory=lambda: dict(BINARY))
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    scaling: ScalingConfig = field(default_factory=ScalingConfig)
    executor: ExecutorOptions = field(default_factory=ExecutorOptions)
    tracker: TrackerOptions = field(default_factory=TrackerOptions)
    trainer: TrainerOptions = field(default_factory=lambda: TrainerOptions("bsscale"))
    gpus: int | None = None
    micro_batch: int = 128
    grad_accum: int = 1
    base_lr: float | None = None
    metric: str | None = None
    target: float | None = None
    stop_at_target: bool = True
    budget_samples: int | None = None
    budget_passes: float | None = None
    eval_interval_samples: int | None = None
    checkpoint_interval_samples: int | None = None
    resume: str = "auto"
    precision: str = "fp32"
    clip_grad_norm: float | None = None
    cowclip: float | None = None
    cowclip_bound: float | None = None
    ema_half_life_samples: int | None = None
    workers: int | str = "auto"
    noise_scale: bool = False
    weights: str = "auto"
    seed: int = 0
    dry_run: bool = False

    @property
    def keeps_weights(self) -> bool:
        """Whether a run of it leaves model.safetensors."""
        return self.task.keeps_weights if self.weights == "auto" else self.weights == "last"
