"""task=range_test: train while the learning rate grows, on several seeds, and suggest a cycle.

The model, the data, the batch and the training loop are those of a training run; only the schedule
and the evaluation grid differ. Every seed is a run with records of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bsscale.config import Config, TrackerOptions
from bsscale.data import Dataset, Samples
from bsscale.errors import ConfigError, FormatVersionError
from bsscale.planning.derive import make_plan
from bsscale.planning.description import describe_hours, describe_plan
from bsscale.planning.devices import Devices
from bsscale.planning.memory import count
from bsscale.planning.plan import Plan
from bsscale.records.evaluation import EvalPoint, read_evals
from bsscale.records.identity import differences
from bsscale.records.schema import FORMAT_VERSION, read_object, version_of
from bsscale.schedules.options import OneCycleConfig, RangeTestConfig
from bsscale.stats.evidence import Nothing, what_is_missing
from bsscale.stats.range_test import Chance, Curve, Suggestion, estimates, suggest
from bsscale.study.options import RangeTestOptions
from bsscale.study.range_test_result import Found, base_lr_to_give, write_result
from bsscale.study.rules import pass_of_study
from bsscale.training.run_trainer import RunTrainer
from bsscale.training.spec import RunSpec
from bsscale.workers.trainers import trainer_of

__all__ = ["describe_range_test", "plan_range_test", "range_test", "refuse_other"]

log = logging.getLogger(__name__)


def range_test(
    config: Config,
    dataset: Dataset,
    directory: Path,
    logs: Mapping[str, Any] | None = None,
    workers: RunTrainer | None = None,
) -> Suggestion | Nothing:
    """Run the range test and write its result.

    Parameters
    ----------
    config
        The run that the cycle is for; its task is a `RangeTestOptions`.
    dataset
        Its data.
    directory
        The output directory: one run for each seed, range_test.json, preset.yaml, and figures.
    logs
        The logging configuration, for processes that a run starts.
    workers
        What trains; None: the workers that the configuration asks for.

    Returns
    -------
    A cycle, or why its curves carry none.
    """
    if workers is None:
        assert isinstance(config.task, RangeTestOptions)
        devices = Devices.here(config.task.seeds > 1)
        with trainer_of(config).workers(config.workers, devices) as workers:
            return range_test(config, dataset, directory, logs, workers)
    specs = plan_range_test(config, dataset, workers.devices, directory, logs)
    refuse_other(directory, specs)
    plan = next(iter(specs.values())).plan
    chance = _chance(plan, dataset.validation)
    curves = dict(zip(specs, _run(list(specs.values()), dataset, workers), strict=True))
    readings = {seed: estimates(curve, chance) for seed, curve in curves.items()}
    for seed, reading in readings.items():
        log.info("seed %d: %s at lr %.3g", seed, reading.edge.reason, reading.edge.lr)
    suggestion = what_is_missing(curves, readings, chance) or suggest(
        list(readings.values()),
        pass_of_study(dataset),
        max(1.0, config.optimizer.momentum_gain(OneCycleConfig().cycle_min_mom)),
    )
    given = base_lr_to_give(config, suggestion)
    write_result(Found(curves, readings, suggestion), plan, _training(specs), given, directory)
    return suggestion


def plan_range_test(
    config: Config,
    dataset: Dataset,
    devices: Devices,
    directory: Path = Path(),
    logs: Mapping[str, Any] | None = None,
) -> dict[int, RunSpec]:
    """The runs of a range test, by seed; raises BsscaleError if they cannot be trained."""
    task = config.task
    assert isinstance(task, RangeTestOptions)
    if config.scaling.name != "none":
        raise ConfigError(
            f"scaling={config.scaling.name} in a range test, which tries all rates itself",
            "leave it out",
        )
    if config.ema_half_life_samples is not None:
        raise ConfigError(
            f"ema_half_life_samples={config.ema_half_life_samples} in a range test, which would "
            "read its losses from an average of the rates before",
            "leave it out; in a study, leave out the arms with preset=true too",
        )
    if task.seeds < 1 or task.evaluations < 10:
        raise ConfigError(
            f"task.seeds={task.seeds}, task.evaluations={task.evaluations}",
            "give at least 1 seed and 10 evaluations",
        )
    return {
        seed: _one_seed(config, task, dataset, directory, logs, seed, devices)
        for seed in range(task.first_seed, task.first_seed + task.seeds)
    }


def refuse_other(directory: Path, specs: Mapping[int, RunSpec]) -> None:
    """Raise BsscaleError if the directory holds another range test, or one of other data."""
    remedy = "give another directory (hydra.run.dir=PATH), or move the old one away"
    path = directory / "range_test.json"
    try:
        data = read_object(path, remedy)
    except FileNotFoundError:
        pass
    else:
        if version_of({"format_version": 1, **data}, path) != FORMAT_VERSION:
            raise FormatVersionError(
                f"{directory} holds a range test of format version 1, which can be read but "
                "not continued",
                remedy,
            )
        then, now = data.get("training", {}), _training(specs)
        if found := differences(then, now):
            listed = "".join(f"\n     {key}: {a} there, {b} here" for key, a, b in found)
            raise ConfigError(f"{directory} holds another range test:{listed}", remedy)
    own = {spec.directory for spec in specs.values()}
    others = sorted(each.name for each in directory.glob("seed-*") if each not in own)
    if others:
        raise ConfigError(f"{directory} holds runs of other seeds: {', '.join(others)}", remedy)


def _training(specs: Mapping[int, RunSpec]) -> dict[str, Any]:
    """A description of the training of the runs, with their seeds."""
    plan = next(iter(specs.values())).plan
    training = {key: value for key, value in plan.training.items() if key != "seed"}
    return {**training, "gpus": plan.gpus, "seeds": list(specs)}


def describe_range_test(config: Config, dataset: Dataset, devices: Devices) -> str:
    """The plan of a range test and its cost; nothing is trained."""
    specs = list(plan_range_test(config, dataset, devices).values())
    plan = specs[0].plan
    samples = len(specs) * plan.budget_samples
    described = describe_plan(plan, dataset, specs[0].arm)
    plans = [spec.plan for spec in specs]
    workers = trainer_of(config).describe(config.workers, plans, devices)
    return (
        f"{described}\n{'workers':>13}  {workers}\n"
        f"{'cost':>13}  {len(specs)} seeds, {samples:,} samples in all"
        f"{describe_hours(samples, config)}"
    )


def _one_seed(
    config: Config,
    task: RangeTestOptions,
    dataset: Dataset,
    directory: Path,
    logs: Mapping[str, Any] | None,
    seed: int,
    devices: Devices,
) -> RunSpec:
    gpus = config.gpus or 1
    samples_per_pass = pass_of_study(dataset)
    ramp, base_lr = _ramp(config, task.ramp)
    budget = config.budget_samples or samples_per_pass
    tested = replace(
        config,
        schedule=ramp,
        base_lr=base_lr,
        stop_at_target=False,
        budget_samples=budget,
        budget_passes=None,
        seed=seed,
        tracker=TrackerOptions("none"),
        noise_scale=False,
    )
    counts = count(config.model, dataset)
    plan = make_plan(tested, samples_per_pass, devices, dataset.key, counts)
    # An exponential ramp ends at its maximum; a linear ramp ends with the budget.
    steps = min(plan.schedule.length or plan.steps, plan.steps)
    plan = replace(
        plan,
        steps=steps,
        budget_samples=steps * plan.global_batch,
        eval_interval_samples=max(1, steps // task.evaluations) * plan.global_batch,
    ).with_target(None, "none: a range test")
    where = directory / f"seed-{seed}"
    return RunSpec(plan, where, arm=f"range_test gpus={gpus}", logging=logs)


def _ramp(config: Config, ramp: RangeTestConfig) -> tuple[RangeTestConfig, float]:
    """The ramp, with the optimizer's rates if none are given, and base_lr."""
    low, high, base_lr = ramp.lr_range_test_min_lr, ramp.lr_range_test_max_lr, config.base_lr
    ends = ramp.mode == "exponential"
    if low is None or base_lr is None or (ends and high is None):
        lowest, highest = config.optimizer.rates_to_test()
        low = lowest if low is None else low
        high = highest if ends and high is None else high
        base_lr = lowest if base_lr is None else base_lr
    return replace(ramp, lr_range_test_min_lr=low, lr_range_test_max_lr=high), base_lr


def _run(specs: Sequence[RunSpec], dataset: Dataset, workers: RunTrainer) -> list[Curve]:
    """Train all seeds."""
    for result in workers.train(specs, [dataset] * len(specs)).values():
        if isinstance(result, Exception):
            raise result
    return [_curve(spec) for spec in specs]


def _curve(spec: RunSpec) -> Curve:
    points = [point for point in read_evals(spec.directory) if point.step > 0]
    loss = spec.plan.objective.loss
    if points and not any(loss in point.metrics for point in points):
        raise ConfigError(
            f"no evaluation in {spec.directory} has {loss}, which a range test reads",
            f"let the script report {loss} too, or give trainer.loss=NAME",
        )
    return Curve(
        # (a script need not report its rates: they are the schedule's)
        lr=spec.plan.schedule.lr(np.array([point.step - 1 for point in points])),
        loss=_column(points, loss),
        values=_column(points, spec.plan.metric.name),
    )


def _chance(plan: Plan, held_out: Samples) -> Chance:
    objective, metric = plan.objective, plan.metric
    return Chance(
        objective.loss_at_chance(held_out.label, held_out.weight),
        objective.chance_words,
        metric.chance_bound(held_out.label),
        metric.criterion,
    )


def _column(points: Sequence[EvalPoint], metric: str) -> npt.NDArray[np.float64]:
    values = [point.metrics.get(metric) for point in points]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
