"""The plan of a study as it is registered: everything that decides its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bsscale.config import Config
from bsscale.config.objectives import build_objective
from bsscale.files.replace import plain
from bsscale.objectives import Metric
from bsscale.records.identity import NOT_IN_ARM, identifying
from bsscale.records.secrets import without_secrets
from bsscale.records.study_record import Registered
from bsscale.report.ratios import CONFIDENCE
from bsscale.stats import FAMILY_RULE, LOOKS_RULE
from bsscale.study.arms import Arm, primary_arm
from bsscale.study.options import StudyOptions
from bsscale.study.rules import stops_hopeless, tuning_rules

__all__ = ["FREE", "OF_ARMS", "to_register"]

TARGET_RULE = (
    "median best validation {metric} of {seeds} runs at 1 GPU and the tuned rate, one pass each, "
    "{sign} {margin}"
)
ADOPTED_RULE = (
    "median best validation {metric} of the adopted runs on the seeds that were registered first, "
    "within one pass each, {sign} {margin}"
)
BUDGET_RULE = (
    "{factor:g} times the median samples to the target of those runs, at least the longest "
    "schedule, in whole evaluation intervals; the same for every arm"
)

# Options of the runs that are registered apart: the arms', or fields of `Registered`. What else has
# no name here is registered, except what does not change the training of an arm.
OF_ARMS = (
    "schedule",
    "scaling",
    "gpus",
    "base_lr",
    "metric",
    "target",
    "stop_at_target",
    "budget_samples",
    "budget_passes",
    "executor",
)
# Options of the study that are registered apart, or free.
FREE = (
    "name", "directory", "work", "part", "arms", "seeds", "looks", "first_seed", "stop_hopeless"
)  # fmt: skip


def to_register(
    config: Config,
    arms: Sequence[Arm],
    stacks: list[dict[str, Any]],
    data_key: str | None = None,
    device: str = "cpu",
    rates: tuple[float | None, float | None] = (None, None),
) -> Registered:
    """The plan of a study.

    Parameters
    ----------
    config
        The run at N GPUs that the question is about; its task is a `StudyOptions`.
    arms
        Its arms.
    stacks
        Which runs share a stack.
    data_key
        Identity of the data.
    device
        cpu or cuda: what trains.
    rates
        The first range of a search; None where nothing is searched for.
    """
    task = config.task
    assert isinstance(task, StudyOptions) and config.gpus is not None
    metric = build_objective(config.objective).metric(config.metric)
    settings = {
        key: value
        for key, value in asdict(config).items()
        if key not in NOT_IN_ARM and key not in OF_ARMS
    }
    executor = {"name": config.executor.name, "compile": config.executor.compile}
    settings |= {"device": device, "executor": executor}
    settings["trainer"] = identifying(settings["trainer"])
    looks = task.look_list() if task.seeds == "auto" else ()
    options = {key: value for key, value in asdict(task).items() if key not in FREE}
    options["search"] = tuning_rules(task, stops_hopeless(task, config.trainer))
    return Registered(
        gpus=config.gpus,
        settings=plain(without_secrets(settings)),
        options=plain(options),
        arms=tuple(arm.registered() for arm in arms),
        seeds=tuple(task.seed_list()),
        tuning_seeds=tuple(task.tuning_seed_list()),
        target_seeds=tuple(task.target_seed_list()),
        range_test_seeds=tuple(task.range_test_seed_list()),
        rates=rates,
        base_lr=config.base_lr,
        target=config.target,
        target_rule="given"
        if config.target is not None
        else _target_rule(task, metric, ADOPTED_RULE if task.adopt else TARGET_RULE),
        budget_rule=BUDGET_RULE.format(factor=task.budget_factor)
        if config.budget_samples is None
        else f"given: {config.budget_samples} samples",
        stacks=stacks,
        primary=primary_arm(task, arms),
        looks=tuple(looks),
        comparison={
            "confidence": CONFIDENCE,
            "family": FAMILY_RULE,
            **({"looks": LOOKS_RULE} if looks else {}),
        },
        metric=metric.name,
        direction=metric.direction,
        data_key=data_key,
    )


def _target_rule(task: StudyOptions, metric: Metric, rule: str) -> str:
    margin = metric.margin if task.margin is None else task.margin
    return rule.format(
        metric=metric.title,
        seeds=task.target_seeds,
        sign="minus" if metric.direction == "max" else "plus",
        margin="2% of its distance to the value at chance" if margin is None else margin,
    )
