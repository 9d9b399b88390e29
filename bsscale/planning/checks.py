"""Checks of values that are invalid for any data set and any machine."""

from __future__ import annotations

import math

import numpy as np

from bsscale.config import Config
from bsscale.config.objectives import build_objective, check_metrics
from bsscale.data import ArrayStream, Dataset, Samples
from bsscale.data.verified import verify
from bsscale.errors import ConfigError, DataError
from bsscale.objectives import Binary, Metric
from bsscale.optimizers.cowclip import CowClip
from bsscale.schedules import Schedule

__all__ = ["check_config", "check_labels", "check_schedule"]

# Samples of an endless stream whose labels are checked before training.
STREAM_SAMPLES = 4096


# Up to here every integer is a float; no training has so many samples.
MOST = 2**53


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
        if count is not None and count > MOST:
            raise ConfigError(f"{key}={count} is above {MOST:.0e}", "give a smaller number")
    if isinstance(config.workers, bool) or not (
        config.workers == "auto" or (isinstance(config.workers, int) and config.workers >= 1)
    ):
        raise ConfigError(
            f"workers={config.workers} is neither auto nor a number of processes",
            "give workers=auto, or workers=1 or more",
        )
    if not 0 <= config.seed < 2**63:
        raise ConfigError(f"seed={config.seed} is not in 0 ... 2**63 - 1", "give seed=0 or more")
    _check_target(config.target, build_objective(config.objective).metric(config.metric))
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
    if CowClip.of(config.cowclip, config.cowclip_bound) and config.clip_grad_norm is not None:
        raise ConfigError(
            f"cowclip={config.cowclip:g} and clip_grad_norm={config.clip_grad_norm:g} would both "
            "clip the gradients of embedding tables",
            "give one of them",
        )
    passes = config.budget_passes
    if passes is not None and config.budget_samples is not None:
        raise ConfigError(
            f"budget_samples={config.budget_samples} and budget_passes={passes} are both given for "
            "the same length",
            "give one of them",
        )
    if passes is not None and not 0 < passes <= MOST:
        raise ConfigError(
            f"budget_passes={passes} is not a number of passes", "give a positive one, such as 8"
        )
    _check_choice("precision", config.precision, ("fp32", "fp64", "bf16"))
    _check_choice("weights", config.weights, ("auto", "last", "none"))
    _check_choice("executor", config.executor.name, ("auto", "virtual", "ddp"))
    _check_choice("executor.device", config.executor.device, ("auto", "cpu", "cuda"))
    if not isinstance(config.executor.compile, bool) and config.executor.compile != "auto":
        raise ConfigError(
            f"executor.compile={config.executor.compile!r} is not one of its values",
            "give auto, true or false",
        )
    config.optimizer.check()
    config.tracker.check()
    config.trainer.check()


def check_labels(config: Config, dataset: Dataset) -> None:
    """Whether the labels of a data set are what the objective takes, and the target is possible.

    Raises
    ------
    MetricError
        For a label that the objective does not take.
    ConfigError
        For a metric that fails on them, or a target that a constant prediction reaches.
    """
    objective = build_objective(config.objective)
    metric = objective.metric(config.metric)
    if dataset.is_weighted and type(objective) is not Binary:
        raise ConfigError(
            f"the samples have weights, and objective={config.objective.get('name')} takes none",
            "leave out dataset.weight, or give objective=binary",
        )
    train = (
        dataset.train.samples
        if isinstance(dataset.train, ArrayStream)
        else dataset.train.read(config.seed, 0, STREAM_SAMPLES)
    )
    for name, samples in (
        ("the training split", train),
        ("the validation split", dataset.validation),
        ("the test split", dataset.test),
    ):
        verify(samples.label)
        objective.check_labels(samples.label, name)
        _check_weight(name, samples)
    check_metrics(objective, dataset.validation.label)
    chance = metric.chance(dataset.validation.label, dataset.validation.weight)
    if config.target is not None and chance is not None and metric.reaches(chance, config.target):
        raise ConfigError(
            f"target={config.target} is no better than the {metric.title} of a constant "
            f"prediction, {chance:.4g}",
            f"give a target that is {'above' if metric.direction == 'max' else 'below'} it",
        )


def _check_weight(name: str, samples: Samples) -> None:
    """Raise DataError for a split whose loss would be 0 / 0."""
    if samples.weight is None:
        return
    verify(samples.weight)
    if not samples.weight.max() > 0:
        raise DataError(
            f"all {len(samples):,} rows of {name} have the weight 0, so that it has no loss",
            "give some of them another weight, or split the data elsewhere",
        )


def check_schedule(config: Config, schedule: Schedule, steps: int, global_batch: int) -> None:
    """Check the schedule against the optimizer and the number of updates of the run."""
    if schedule.momentum(0) is not None and config.optimizer.momentum_now is None:
        raise ConfigError(
            f"schedule={config.schedule.name} cycles the momentum, and "
            f"optimizer={config.optimizer.name} as configured has no momentum",
            "do not cycle the momentum (cycle_momentum=false), or give an optimizer with momentum "
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
    if not config.optimizer.follows_lr and np.ptp(schedule.lr(np.arange(steps))) > 0:
        raise ConfigError(
            f"schedule={config.schedule.name} changes the learning rate, and optimizer="
            f"{config.optimizer.name} as configured reads it at its first update only",
            "give a constant rate (schedule=fixed), or another optimizer",
        )


def _check_target(target: float | None, metric: Metric) -> None:
    worst, perfect = metric.limits
    if target is None or min(worst, perfect) < target < max(worst, perfect):
        return
    low, high = sorted(metric.limits)
    bounds = [f"above {low:g}"] if math.isfinite(low) else []
    bounds += [f"below {high:g}"] if math.isfinite(high) else []
    raise ConfigError(
        f"target={target} is not a possible {metric.title}",
        f"give a value {' and '.join(bounds)}" if bounds else "give a finite number",
    )


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{key}={value} is not one of its values", f"give {' or '.join(choices)}")
