"""The typed configuration of one run: what the YAML files and the command line fill in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from bsscale.errors import ConfigError
from bsscale.optimizers import OptimizerConfig
from bsscale.schedule_config import RangeTestConfig, ScheduleConfig

__all__ = ["Config", "ExecutorConfig", "TaskConfig", "TrackerConfig"]


@dataclass
class TaskConfig:
    """What to do: the name of a file in conf/task/."""

    name: str = MISSING


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


@dataclass
class RangeTestTask(TaskConfig):
    """task=range_test.

    Attributes
    ----------
    ramp
        How the rate grows: the options of schedule=range_test, exponential by default.
    seeds
        Seeds to repeat it on.
    first_seed
        The first of them; far from those that runs use, which the suggestion is for.
    evaluations
        Evaluations along the ramp.
    """

    name: str = "range_test"
    ramp: RangeTestConfig = field(default_factory=lambda: RangeTestConfig(mode="exponential"))
    seeds: int = 3
    first_seed: int = 1_000_000
    evaluations: int = 100


@dataclass
class StudyArm:
    """One arm of a study.

    Attributes
    ----------
    schedule
        ``name`` and options of a schedule.
    role
        baseline (exactly one arm), arm or control.
    gpus
        Its replicas; None: those of the study.
    rate
        What its base_lr is: base_lr, the rate tuned at 1 GPU, or tuned, one at its own gpus.
    preset
        Whether a range test at its gpus configures its 1-Cycle.
    """

    schedule: dict[str, Any] = field(default_factory=dict)
    role: str = "arm"
    gpus: int | None = None
    rate: str = "base_lr"
    preset: bool = False


@dataclass
class StudyTask(TaskConfig):
    """task=study.

    Attributes
    ----------
    arms
        The options of a `StudyArm` each, by name.
    directory
        Where the study lies, and goes on when it is started again; None: studies/ and a name
        from dataset, model, optimizer and gpus.
    seeds, first_seed
        The report seeds, the same for every arm.
    trials
        Rates that each search tries.
    lowest_lr, highest_lr
        Where a search begins; None: by optimizer.
    tuning_seeds, target_seeds, range_test_seeds
        How many seeds the searches, the target and the range tests take; disjoint from each other
        and from the report seeds.
    margin_auc
        How far below the median best AUC at 1 GPU the target lies.
    budget_factor
        The budget, in multiples of the samples that 1 GPU needs.
    sampler_seed
        Of the quasi-random rates.
    work, part
        Of a job that the study itself starts, where it runs on a cluster: it carries out that part
        of that work.
    """

    name: str = "study"
    arms: dict[str, Any] = field(default_factory=dict)
    directory: str | None = None
    seeds: int = 10
    first_seed: int = 0
    trials: int = 12
    lowest_lr: float | None = None
    highest_lr: float | None = None
    tuning_seeds: int = 2
    target_seeds: int = 5
    range_test_seeds: int = 3
    margin_auc: float = 0.005
    budget_factor: float = 8.0
    sampler_seed: int = 0
    work: str | None = None
    part: int = 0

    def tuning_seed_list(self) -> list[int]:
        """Far from the seeds of reports and of range tests."""
        return list(range(3_000_000, 3_000_000 + self.tuning_seeds))

    def target_seed_list(self) -> list[int]:
        """Far from all others."""
        return list(range(2_000_000, 2_000_000 + self.target_seeds))

    def check(self) -> None:
        """Raise ConfigError for values with which there is no study."""
        for key in ("seeds", "tuning_seeds", "target_seeds", "range_test_seeds"):
            if getattr(self, key) < 1:
                raise ConfigError(f"task.{key}={getattr(self, key)} is below 1", "give 1 or more")
        if self.trials < 3:
            raise ConfigError(
                f"task.trials={self.trials}: a best rate between two others takes 3",
                "give task.trials=8 or more",
            )
        if not 0 <= self.first_seed <= 1_000_000 - self.seeds:
            raise ConfigError(
                f"task.first_seed={self.first_seed} with {self.seeds} seeds meets the seeds of "
                "range tests and searches",
                "give report seeds below 1,000,000",
            )
        low, high = self.lowest_lr or 0, self.highest_lr or math.inf
        if not 0 <= low < high:
            raise ConfigError(
                f"task.lowest_lr={self.lowest_lr}, task.highest_lr={self.highest_lr}",
                "give a positive lowest rate below the highest",
            )
        if not 0 <= self.margin_auc < 0.5 or not self.budget_factor >= 1:
            raise ConfigError(
                f"task.margin_auc={self.margin_auc}, task.budget_factor={self.budget_factor}",
                "give a margin from 0 to 0.5, and a budget factor of at least 1",
            )


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
class DashboardTask(TaskConfig):
    """task=dashboard.

    Attributes
    ----------
    publish
        ENTITY/PROJECT to send the dashboard to; None: it is only written.
    """

    name: str = "dashboard"
    publish: str | None = None

    def destination(self) -> tuple[str, str]:
        """Entity and project.

        Raises
        ------
        ConfigError
            If `publish` is given and does not name both.
        """
        if self.publish is None:
            return "", "bsscale"
        entity, separator, project = self.publish.partition("/")
        if not (entity and separator and project) or "/" in project:
            raise ConfigError(
                f"task.publish={self.publish} is not a W&B project",
                "give task.publish=ENTITY/PROJECT, as in the project's address on wandb.ai",
            )
        return entity, project


@dataclass
class ExecutorConfig:
    """How the replicas are carried.

    Attributes
    ----------
    name
        auto, virtual or ddp.
    device
        auto (CUDA where there is one), cpu or cuda.
    threads
        CPU threads of each training process. Small models gain little from a second thread, and
        lose a factor of ten or more where another program wants the same core.
    compile
        Whether the training step is compiled (torch.compile): auto where that is predicted to
        save more time than it takes.
    """

    name: str = MISSING
    device: str = "auto"
    threads: int = 1
    compile: bool | str = "auto"


@dataclass
class TrackerConfig:
    """Where the records are mirrored."""

    name: str = MISSING


@dataclass
class WandbConfig(TrackerConfig):
    """Weights & Biases.

    Attributes
    ----------
    project
        The W&B project.
    mode
        online or offline; null takes WANDB_MODE from the environment, and offline without it.
    """

    name: str = "wandb"
    project: str = "bsscale"
    mode: str | None = None


@dataclass
class Config:
    """One run, as the user wrote it. `Plan` derives every other number from it.

    Attributes
    ----------
    gpus
        Data-parallel replicas; None means 1.
    micro_batch
        Samples per replica per forward pass.
    grad_accum
        Forward passes per update.
    base_lr
        Best fixed learning rate at one GPU; None takes the shipped, tuned one.
    target
        Validation AUC to reach; None takes the shipped one, or none.
    stop_at_target
        Stop once the target is confirmed.
    budget_samples, budget_passes
        The most samples to train on; at most one may be given, 8 passes by default.
    eval_interval_samples
        Samples between evaluations; None means 128 x micro_batch.
    checkpoint_interval_samples
        Samples between checkpoints; None means one pass over the training split.
    resume
        auto: go on where the output directory holds a run that has not ended; never: refuse such a
        directory; or a checkpoint, or a run's directory, to go on from in a new one.
    precision
        fp32, fp64, or bf16: weights and optimizer state in float32, forward pass and scoring under
        torch.autocast.
    clip_grad_norm
        The largest L2 norm of an update's gradient over all parameters; None: any.
    seed
        Seed of the initialization and of the sample order.
    dry_run
        Print the plan and stop.
    """

    task: TaskConfig = field(default_factory=TaskConfig)
    dataset: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    gpus: int | None = None
    micro_batch: int = 128
    grad_accum: int = 1
    base_lr: float | None = None
    target: float | None = None
    stop_at_target: bool = True
    budget_samples: int | None = None
    budget_passes: float | None = None
    eval_interval_samples: int | None = None
    checkpoint_interval_samples: int | None = None
    resume: str = "auto"
    precision: str = "fp32"
    clip_grad_norm: float | None = None
    seed: int = 0
    dry_run: bool = False
