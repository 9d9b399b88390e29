"""From a configuration to a `Plan`: every derived number of a run, computed and checked once.

The order is the order of the questions: how many replicas, how large is an update, how many
updates, when to evaluate, at what rates, towards what target. Nothing after this module derives
a number again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from bsscale import baselines
from bsscale.config import Config
from bsscale.errors import ConfigError
from bsscale.records import plain
from bsscale.schedule_config import ScheduleContext
from bsscale.schedules import Schedule
from bsscale.stacking import choose_training_step
from bsscale.world import World

__all__ = ["Devices", "Plan", "make_plan"]

DEFAULT_BUDGET_PASSES = 8.0
# Divisible by every power of two up to 128 replicas, so that all of them evaluate at the same
# sample counts; at 128 samples a replica it is 16 evaluations a pass of flights.
DEFAULT_EVAL_INTERVAL_MICRO_BATCHES = 128


@dataclass(frozen=True)
class Devices:
    """The accelerators of this machine, and the processes that were started on it.

    Attributes
    ----------
    cuda
        Number of CUDA devices.
    world
        The processes of the run, where something else has started them.
    """

    cuda: int
    world: World | None = None

    @classmethod
    def here(cls) -> Devices:
        """Count the devices of this machine."""
        import torch

        cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return cls(cuda, World.here())


@dataclass(frozen=True)
class Plan:
    """Every number of a run that follows from its configuration, data set and machine.

    Attributes
    ----------
    executor
        virtual or ddp.
    executor_reason
        Why, in a few words.
    device
        cpu or cuda.
    training_step, training_step_reason
        layers, compiled or eager, and why (see `stacking.choose_training_step`).
    processes, threads
        Training processes, and CPU threads of each.
    gpus, micro_batch, grad_accum
        As configured.
    global_batch
        Samples of one update: micro_batch x gpus x grad_accum.
    replicas_per_device
        Replicas that one process carries.
    samples_per_pass
        Training samples in one pass.
    budget_samples, steps
        The most samples to train on, and the updates that takes.
    eval_interval_samples
        Samples between evaluations.
    base_lr, base_lr_source
        Best fixed rate at one GPU, and where it comes from.
    schedule
        Learning rate and momentum of each update.
    target, target_source
        Validation AUC to reach (None: none), and where it comes from.
    stop_at_target
        Whether training stops once the target is confirmed.
    checkpoint_interval_samples
        Samples between checkpoints.
    precision
        fp32, fp64 or bf16.
    seed
        Seed of the initialization and of the sample order.
    subject
        Data set, model, optimizer and clipping as configured, in plain containers.
    warnings
        What the user should know before training.
    """

    executor: str
    executor_reason: str
    device: str
    training_step: str
    training_step_reason: str
    processes: int
    threads: int
    gpus: int
    micro_batch: int
    grad_accum: int
    global_batch: int
    replicas_per_device: int
    samples_per_pass: int
    budget_samples: int
    steps: int
    eval_interval_samples: int
    base_lr: float
    base_lr_source: str
    schedule: Schedule
    target: float | None
    target_source: str
    stop_at_target: bool
    checkpoint_interval_samples: int
    precision: str
    seed: int
    subject: Mapping[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def training(self) -> dict[str, Any]:
        """All that determines the training and when it ends, in plain containers.

        It is what a checkpoint has in common with a run that goes on from it. Neither the executor
        nor the number of replicas is part of it, as long as they make the same global batch.
        """
        numbers = (
            "samples_per_pass",
            "global_batch",
            "budget_samples",
            "eval_interval_samples",
            "target",
            "stop_at_target",
            "precision",
            "seed",
        )
        schedule = {"shape": type(self.schedule).__name__, **asdict(cast("Any", self.schedule))}
        described = {name: getattr(self, name) for name in numbers}
        plain_: dict[str, Any] = plain({**self.subject, "schedule": schedule, **described})
        return plain_

    def next_evaluation(self, step: int) -> int:
        """After how many updates a run that has made `step` of them is evaluated again.

        That is the first update that passes a point of the evaluation grid, or the last of all.
        """
        passed = step * self.global_batch // self.eval_interval_samples
        samples = (passed + 1) * self.eval_interval_samples
        return min(-(-samples // self.global_batch), self.steps)

    def next_checkpoint(self, step: int) -> int:
        """After how many updates a run that has made `step` of them is checkpointed again.

        That is the first update past a multiple of the interval; or, where evaluations are closer
        together, the first evaluation past it, so that runs in one stack stay in step.
        """
        passed = step * self.global_batch // self.checkpoint_interval_samples
        samples = (passed + 1) * self.checkpoint_interval_samples
        due = -(-samples // self.global_batch)
        if self.checkpoint_interval_samples < self.eval_interval_samples:
            return due
        return self.next_evaluation(due - 1)


def make_plan(config: Config, samples_per_pass: int, devices: Devices) -> Plan:
    """Derive and check every number of a run.

    Parameters
    ----------
    config
        The run as the user wrote it.
    samples_per_pass
        Training samples in one pass over the data set.
    devices
        The accelerators of this machine.

    Raises
    ------
    ConfigError
        With the fact, the value and the remedy, for whatever cannot be trained.
    """
    check_config(config)
    gpus = config.gpus or (1 if devices.world is None else devices.world.size)
    executor, executor_reason, device, processes = _executor(config, gpus, devices)

    global_batch = config.micro_batch * gpus * config.grad_accum
    if global_batch > samples_per_pass:
        largest = samples_per_pass // (config.micro_batch * config.grad_accum)
        raise ConfigError(
            f"the global batch of {global_batch:,} samples (micro_batch={config.micro_batch} x "
            f"gpus={gpus} x grad_accum={config.grad_accum}) is larger than the training split of "
            f"{samples_per_pass:,}",
            f"give gpus of at most {largest:,}, or a smaller micro_batch",
        )
    eval_interval = config.eval_interval_samples or (
        DEFAULT_EVAL_INTERVAL_MICRO_BATCHES * config.micro_batch
    )
    budget = _budget_samples(config, samples_per_pass, eval_interval)
    steps = math.ceil(budget / global_batch)
    training_step, training_step_reason = choose_training_step(
        config, executor, device, steps, global_batch
    )

    tuned = baselines.find(config)
    base_lr, base_lr_source = _base_lr(config, tuned)
    target, target_source = _target(config, tuned)
    schedule = config.schedule.build(
        ScheduleContext(
            base_lr=base_lr,
            gpus=gpus,
            global_batch=global_batch,
            samples_per_pass=samples_per_pass,
            momentum=config.optimizer.momentum_now,
        )
    )
    _check_schedule(config, schedule, steps, global_batch)
    return Plan(
        executor=executor,
        executor_reason=executor_reason,
        device=device,
        training_step=training_step,
        training_step_reason=training_step_reason,
        processes=processes,
        threads=config.executor.threads,
        gpus=gpus,
        micro_batch=config.micro_batch,
        grad_accum=config.grad_accum,
        global_batch=global_batch,
        replicas_per_device=gpus // processes,
        samples_per_pass=samples_per_pass,
        budget_samples=budget,
        steps=steps,
        eval_interval_samples=eval_interval,
        base_lr=base_lr,
        base_lr_source=base_lr_source,
        schedule=schedule,
        target=target,
        target_source=target_source,
        stop_at_target=config.stop_at_target,
        checkpoint_interval_samples=config.checkpoint_interval_samples or samples_per_pass,
        precision=config.precision,
        seed=config.seed,
        subject={
            "dataset": config.dataset,
            "model": config.model,
            "optimizer": asdict(config.optimizer),
            "clip_grad_norm": config.clip_grad_norm,
        },
        warnings=schedule.notes(),
    )


def check_config(config: Config) -> None:
    """Raise ConfigError for values that no data set or machine could make right."""
    for key, count in (
        ("gpus", config.gpus),
        ("micro_batch", config.micro_batch),
        ("grad_accum", config.grad_accum),
        ("budget_samples", config.budget_samples),
        ("eval_interval_samples", config.eval_interval_samples),
        ("checkpoint_interval_samples", config.checkpoint_interval_samples),
        ("executor.threads", config.executor.threads),
    ):
        if count is not None and count < 1:
            raise ConfigError(f"{key}={count} is below 1", f"give {key}=1 or more")
    if not 0 <= config.seed < 2**63:
        raise ConfigError(f"seed={config.seed} is not in 0 ... 2**63 - 1", "give seed=0 or more")
    if config.target is not None and not 0.5 < config.target < 1:
        raise ConfigError(
            f"target={config.target} is not an AUC between 0.5 (chance) and 1",
            "give the AUC to reach as a fraction, e.g. target=0.76",
        )
    if config.base_lr is not None and not 0 < config.base_lr < math.inf:
        raise ConfigError(
            f"base_lr={config.base_lr} is not a positive number",
            "give the best fixed learning rate at gpus=1, e.g. base_lr=0.1",
        )
    if config.clip_grad_norm is not None and not 0 < config.clip_grad_norm < math.inf:
        raise ConfigError(
            f"clip_grad_norm={config.clip_grad_norm} is not a positive number",
            "give the largest norm of an update's gradient, e.g. clip_grad_norm=1, or "
            "clip_grad_norm=null not to clip",
        )
    passes = config.budget_passes
    if passes is not None and config.budget_samples is not None:
        raise ConfigError(
            f"budget_samples={config.budget_samples} and budget_passes={passes} name one length",
            "give one of them",
        )
    if passes is not None and not 0 < passes < math.inf:
        raise ConfigError(f"budget_passes={passes} is not a positive number", "8 is the default")
    _check_choice("precision", config.precision, ("fp32", "fp64", "bf16"))
    _check_choice("executor", config.executor.name, ("auto", "virtual", "ddp"))
    _check_choice("executor.device", config.executor.device, ("auto", "cpu", "cuda"))
    if not isinstance(config.executor.compile, bool) and config.executor.compile != "auto":
        raise ConfigError(
            f"executor.compile={config.executor.compile!r} is not one of its values",
            "give auto, true or false",
        )
    config.optimizer.check()


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{key}={value} is not one of its values", f"give {' or '.join(choices)}")


def _executor(config: Config, gpus: int, devices: Devices) -> tuple[str, str, str, int]:
    """Executor, reason, device type and number of processes."""
    wanted, device = config.executor.name, config.executor.device
    if device == "cuda" and devices.cuda == 0:
        raise ConfigError(
            "executor.device=cuda on a machine without a CUDA device",
            "give executor.device=cpu, or install a CUDA build of torch",
        )
    if device == "auto":
        device = "cuda" if devices.cuda else "cpu"
    if devices.world is not None and not (wanted == "virtual" and devices.world.size == 1):
        _check_world(config, gpus, device, devices, devices.world)
        source, size = devices.world.source, devices.world.size
        return "ddp", f"{source} has started {size} process{'es' * (size > 1)}", device, size
    # On a CPU any number of processes can be started; on CUDA one a device.
    count = devices.cuda if device == "cuda" else gpus
    if wanted == "ddp":
        processes = min(count, gpus)
        if gpus % processes:
            fitting = ", ".join(str(n) for n in range(1, gpus + 1) if gpus % n == 0 and n <= count)
            raise ConfigError(
                f"gpus={gpus} replicas do not divide among {processes} CUDA devices",
                f"make that many devices visible (CUDA_VISIBLE_DEVICES): {fitting}",
            )
        return "ddp", "asked for", device, processes
    if wanted == "virtual":
        return "virtual", "asked for", device, 1
    if gpus > 1 and device == "cuda" and count > 1:
        processes = max(n for n in range(1, min(count, gpus) + 1) if gpus % n == 0)
        if processes > 1:
            return "ddp", f"auto: {count} CUDA devices", device, processes
    return "virtual", f"auto: {'one CUDA device' if device == 'cuda' else 'no GPU'}", device, 1


def _check_world(config: Config, gpus: int, device: str, devices: Devices, world: World) -> None:
    """Whether the processes that were started are those of the run that is configured."""
    started = f"{world.source} has started {world.size} processes"
    if config.executor.name == "virtual":
        raise ConfigError(
            f"executor=virtual trains in one process, but {started}",
            "leave executor=virtual out, or start bsscale once: python -m bsscale",
        )
    if gpus % world.size:
        fitting = ", ".join(str(n) for n in range(1, gpus + 1) if gpus % n == 0)
        raise ConfigError(
            f"gpus={gpus} replicas do not divide among the processes: {started}",
            f"leave gpus out (it is {world.size} then), give a multiple of {world.size}, or start "
            f"{fitting} processes",
        )
    if device == "cuda" and world.local_size > devices.cuda:
        raise ConfigError(
            f"{world.local_size} processes on a host with {devices.cuda} CUDA devices",
            f"start {devices.cuda} on this host, or give executor.device=cpu",
        )


def _budget_samples(config: Config, samples_per_pass: int, eval_interval: int) -> int:
    if config.budget_samples is not None:
        return config.budget_samples
    passes = DEFAULT_BUDGET_PASSES if config.budget_passes is None else config.budget_passes
    # Up to a whole evaluation interval, so that the grid ends where the budget does.
    return math.ceil(passes * samples_per_pass / eval_interval) * eval_interval


def _check_schedule(config: Config, schedule: Schedule, steps: int, global_batch: int) -> None:
    """What only the run knows: its optimizer and its length."""
    if schedule.momentum(0) is not None and config.optimizer.momentum_now is None:
        raise ConfigError(
            f"schedule={config.schedule.name} cycles the momentum, and "
            f"optimizer={config.optimizer.name} as configured has no momentum",
            "leave momentum alone (cycle_momentum=false), or give an optimizer with momentum "
            "(optimizer=sgd, adam or adamw)",
        )
    if schedule.length > steps:
        raise ConfigError(
            f"schedule={config.schedule.name} takes {schedule.length:,} steps of {global_batch:,} "
            f"samples, but the budget ends after {steps:,}",
            "shorten the schedule (its options in steps, samples or fractions of a pass), or "
            f"train for longer: budget_samples={schedule.length * global_batch} or more",
        )
    schedule.check(steps)


def _base_lr(config: Config, tuned: baselines.Lookup) -> tuple[float, str]:
    if config.base_lr is not None:
        return config.base_lr, "given"
    if tuned.baseline is None:
        raise ConfigError(
            f"no tuned base_lr ships for {tuned.described}{tuned.why_not}",
            "give base_lr=RATE; to find it, train at gpus=1 over a range of rates and take the "
            "best:\n     python -m bsscale -m schedule=fixed gpus=1 "
            "base_lr=0.01,0.03,0.1,0.3,1 [your options]",
        )
    return tuned.baseline.base_lr, f"tuned at gpus=1 for {tuned.described}"


def _target(config: Config, tuned: baselines.Lookup) -> tuple[float | None, str]:
    if config.target is not None:
        return config.target, "given"
    if tuned.target is None:
        return None, (
            f"none ships for {tuned.described}{tuned.why_not}; the run uses its whole budget and "
            "reports its best AUC (give target=AUC)"
        )
    return tuned.target, "median best AUC of the tuned 1-GPU runs - 0.005"
