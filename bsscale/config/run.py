"""The typed configuration of one run: what the YAML files and the command line fill in.

What every task, tracker and executor has is here; the options of each are beside it, and the
command line registers them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from bsscale.optimizers import OptimizerConfig
from bsscale.schedules.options import ScheduleConfig

__all__ = ["Config", "ExecutorConfig", "TaskConfig", "TrackerConfig"]


@dataclass
class TaskConfig:
    """What to do: the name of a file in conf/task/."""

    name: str = MISSING


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
