"""The study that task=scaling is: every arm at every number of GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bsscale.config import Config
from bsscale.config.shipped import shipped_options
from bsscale.critical_batch.identify import FEWEST_BATCHES
from bsscale.errors import ConfigError
from bsscale.study.options import StudyOptions
from bsscale.study.plan import default_directory
from bsscale.study.scaling_options import ScalingOptions

__all__ = ["arm_at", "arm_options", "counts", "study_of"]


def counts(task: ScalingOptions) -> list[int]:
    """The numbers of GPUs, in rising order.

    Raises
    ------
    ConfigError
        If no curve can be fitted to them.
    """
    found = sorted(task.gpus)
    if len(set(found)) < len(found) or not found or found[0] != 1:
        raise ConfigError(
            f"task.gpus={task.gpus} is no list of different numbers that begins with 1",
            "give 1, at which the target is found, and others: task.gpus=[1,2,4,8,16]",
        )
    if len(found) < FEWEST_BATCHES:
        raise ConfigError(
            f"task.gpus={task.gpus} has {len(found)} numbers, and a curve needs "
            f"{FEWEST_BATCHES} or more",
            "give more numbers of GPUs: task.gpus=[1,2,4,8,16]",
        )
    return found


def arm_options(task: ScalingOptions) -> dict[str, dict[str, Any]]:
    """The options of each arm, as those of a study, by its name.

    Raises
    ------
    ConfigError
        For a name that is none of a study's arms, or an arm that has a number of GPUs.
    """
    shipped = (shipped_options("task", "study") or {})["arms"]
    if isinstance(task.arms, Mapping):
        given = {str(name): options for name, options in task.arms.items() if options}
    else:
        names = task.arms if isinstance(task.arms, list | tuple) else [task.arms]
        unknown = [name for name in names if name not in shipped]
        possible = ", ".join(name for name, arm in shipped.items() if "gpus" not in arm)
        if unknown or len(set(names)) < len(names):
            raise ConfigError(
                f"task.arms={task.arms}: {unknown[0] if unknown else names} is no arm of a "
                f"study{'' if unknown else ', each once'}",
                f"give some of {possible}, or options: "
                "'task.arms={NAME:{schedule:cosine,rate:tuned}}'",
            )
        given = {name: shipped[name] for name in names}
    if not given:
        raise ConfigError("task.arms names no arm", "give task.arms=[tuned_constant]")
    for name, options in given.items():
        if not isinstance(options, Mapping) or "gpus" in options:
            raise ConfigError(
                f"task.arms.{name}={options} has a number of GPUs of its own, or is no arm",
                "give arms that are trained at every number of GPUs",
            )
    return {name: dict(options) for name, options in given.items()}


def arm_at(name: str, gpus: int) -> str:
    """The name of an arm at so many GPUs, in the study."""
    return f"{name}@{gpus}"


def study_of(config: Config) -> Config:
    """The configuration of the study that task=scaling is: an arm at each number of GPUs.

    Parameters
    ----------
    config
        Its task is a `ScalingOptions`.

    Raises
    ------
    ConfigError
        For options with which there is no such study.
    """
    task = config.task
    assert isinstance(task, ScalingOptions)
    given = arm_options(task)
    arms: dict[str, Any] = {}
    for name, options in given.items():
        for gpus in counts(task):
            # (The first arm at 1 GPU is what a study's own report compares the others with.)
            role = "arm" if arms else "baseline"
            arms[arm_at(name, gpus)] = {**options, "gpus": gpus, "role": role}
    directory = task.directory or default_directory(config, "scaling")
    shared = {
        key: getattr(task, key)
        for key in (
            "seeds", "first_seed", "trials", "lowest_lr", "highest_lr", "tuning_seeds",
            "finalist_seeds", "target_seeds", "range_test_seeds", "margin", "stop_hopeless",
            "budget_factor", "max_runs", "max_hours",
            "work", "part",
        )
    }  # fmt: skip
    study = StudyOptions(arms=arms, directory=directory, **shared)
    return replace(config, task=study, gpus=counts(task)[-1])
