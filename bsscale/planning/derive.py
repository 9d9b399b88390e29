"""From a configuration to a `Plan`: every derived number of a run, computed and checked once.

The numbers are derived in this order: replicas, size of an update, number of updates, evaluation
grid, learning rates, target. No later code derives a number again.
"""

from __future__ import annotations

import math
from dataclasses import replace

from bsscale.config import Config
from bsscale.config.objectives import build_objective
from bsscale.config.schedules import resolve
from bsscale.errors import ConfigError
from bsscale.objectives import Metric
from bsscale.planning import baselines
from bsscale.planning.checks import check_config, check_schedule
from bsscale.planning.devices import Devices
from bsscale.planning.executor import choose_executor
from bsscale.planning.memory import Counts, check_memory, predict
from bsscale.planning.plan import Plan
from bsscale.planning.scaling import scaled_schedule_and_groups
from bsscale.planning.speed import predict_speed
from bsscale.planning.training_step import choose_training_step
from bsscale.schedules.options import ScheduleContext

__all__ = ["DEFAULT_EVAL_INTERVAL_MICRO_BATCHES", "make_plan"]

DEFAULT_BUDGET_PASSES = 8.0
# 128 micro-batches: divisible by every power of two up to 128, so that 1, 2, 4, … replicas evaluate
# at the same sample counts. With a micro_batch of 128, one pass over flights has 16 evaluations.
DEFAULT_EVAL_INTERVAL_MICRO_BATCHES = 128
# Evaluations of so many rows may be frequent. With more of them, an evaluated row is predicted to
# take half the time of a training sample (no backward pass and no update).
FEW_EVALUATED_ROWS = 50_000
EVALUATED_ROW_IN_SAMPLES = 0.5
MOST_EVAL_SHARE = 0.2


def make_plan(
    config: Config,
    samples_per_pass: int | None,
    devices: Devices,
    data_key: str | None = None,
    counts: Counts | None = None,
    evaluated_rows: int = 0,
) -> Plan:
    """Derive and check every number of a run.

    Parameters
    ----------
    config
        The run as the user wrote it.
    samples_per_pass
        Training samples in one pass over the data set; None: not known.
    devices
        The accelerators of this machine.
    data_key
        Identity of the data; None where it is not known.
    counts
        Of the model and the data (see `memory.count`); None where they are not known.
    evaluated_rows
        Validation samples of an evaluation; 0: few.

    Raises
    ------
    ConfigError
        If the configuration cannot be trained, with the fact, the value and the remedy.
    """
    check_config(config)
    objective = build_objective(config.objective)
    metric = objective.metric(config.metric)
    config = replace(config, metric=metric.name, schedule=resolve(config.schedule))
    gpus = config.gpus or (1 if devices.world is None else devices.world.size)
    executor, executor_reason, device, processes = choose_executor(config, gpus, devices, counts)

    global_batch = config.micro_batch * gpus * config.grad_accum
    if samples_per_pass is not None and global_batch > samples_per_pass:
        largest = samples_per_pass // (config.micro_batch * config.grad_accum)
        raise ConfigError(
            f"the global batch of {global_batch:,} samples (micro_batch={config.micro_batch} x "
            f"gpus={gpus} x grad_accum={config.grad_accum}) is larger than the training split of "
            f"{samples_per_pass:,}",
            f"give gpus of at most {largest:,}, or a smaller micro_batch",
        )
    eval_interval = config.eval_interval_samples or _eval_interval_samples(config, evaluated_rows)
    budget = _budget_samples(config, samples_per_pass, eval_interval)
    steps = math.ceil(budget / global_batch)
    training_step, training_step_reason = choose_training_step(
        config, executor, device, steps, global_batch
    )

    memory = None
    if counts is not None:
        available = devices.memory_bytes(device)
        memory = predict(config, counts, gpus, executor, device, processes, available)
        check_memory(config, memory, device, processes)

    speed = None
    if counts is not None and training_step == "layers" and device == "cpu":
        speed = predict_speed(counts, config.optimizer, global_batch)

    tuned = baselines.find(config)
    base_lr, base_lr_source = _base_lr(config, tuned)
    target, target_source = _target(config, metric, tuned)
    schedule, groups = scaled_schedule_and_groups(
        config,
        ScheduleContext(
            base_lr=base_lr,
            gpus=gpus,
            global_batch=global_batch,
            samples_per_pass=samples_per_pass,
            momentum=config.optimizer.momentum_now,
        ),
    )
    check_schedule(config, schedule, steps, global_batch)
    plan = Plan(
        config=replace(config, gpus=gpus, base_lr=base_lr, target=target),
        objective=objective,
        executor=executor,
        executor_reason=executor_reason,
        device=device,
        training_step=training_step,
        training_step_reason=training_step_reason,
        processes=processes,
        memory=memory,
        speed=speed,
        global_batch=global_batch,
        replicas_per_device=gpus // processes,
        samples_per_pass=samples_per_pass,
        data_key=data_key,
        budget_samples=budget,
        steps=steps,
        eval_interval_samples=eval_interval,
        base_lr_source=base_lr_source,
        schedule=schedule,
        groups=groups,
        target_source=target_source,
        checkpoint_interval_samples=config.checkpoint_interval_samples
        or samples_per_pass
        or eval_interval,
    )
    _ = plan.noise_scale_steps  # (raises ConfigError for a budget without room for it)
    _ = plan.average  # (likewise for its half-life)
    return plan


def _eval_interval_samples(config: Config, evaluated_rows: int) -> int:
    """Samples between evaluations, the same for every arm.

    After many rows it is so long that evaluation is predicted to take at most a fifth of the time.
    The prediction is from counts, because a measured time would differ from start to start.
    """
    shortest = DEFAULT_EVAL_INTERVAL_MICRO_BATCHES * config.micro_batch
    if evaluated_rows <= FEW_EVALUATED_ROWS:
        return shortest
    evaluation = EVALUATED_ROW_IN_SAMPLES * evaluated_rows
    return math.ceil(evaluation * (1 / MOST_EVAL_SHARE - 1) / shortest) * shortest


def _budget_samples(config: Config, samples_per_pass: int | None, eval_interval: int) -> int:
    if config.budget_samples is not None:
        return config.budget_samples
    if samples_per_pass is None:
        raise ConfigError(
            "the budget is in passes, and the samples of a pass are not known",
            "give trainer.samples_per_pass=NUMBER, or budget_samples=NUMBER",
        )
    passes = DEFAULT_BUDGET_PASSES if config.budget_passes is None else config.budget_passes
    # Round up to a whole evaluation interval, so that the last evaluation is at the end of the
    # budget.
    return math.ceil(passes * samples_per_pass / eval_interval) * eval_interval


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


def _target(config: Config, metric: Metric, tuned: baselines.Lookup) -> tuple[float | None, str]:
    if config.target is not None:
        return config.target, "given"
    if tuned.target is None or metric.name != baselines.METRIC.name:
        judged = "" if metric.name == baselines.METRIC.name else f" metric={metric.name}"
        return None, (
            f"none ships for {tuned.described}{judged}{tuned.why_not}; the run uses its whole "
            f"budget and reports its best {metric.title} (give target=VALUE)"
        )
    return tuned.target, f"median best AUC of the tuned 1-GPU runs - {baselines.TARGET_MARGIN}"
