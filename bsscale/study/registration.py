"""The registration of a study: its plan, written down before its first run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from bsscale.config import Config
from bsscale.config.objectives import build_objective
from bsscale.errors import ConfigError, FormatVersionError, RecordsError
from bsscale.files.replace import plain
from bsscale.objectives import Metric
from bsscale.records.identity import differences
from bsscale.records.schema import FORMAT_VERSION
from bsscale.records.secrets import without_secrets
from bsscale.records.study_record import (
    Amendment,
    Registered,
    StudyRecord,
    read_study,
    write_study,
)
from bsscale.study.arms import Arm
from bsscale.study.options import StudyOptions

__all__ = ["check_registration", "open_study"]

TARGET_RULE = (
    "median best validation {metric} of {seeds} runs at 1 GPU and the tuned rate, one pass each, "
    "{sign} {margin}"
)
BUDGET_RULE = (
    "{factor:g} times the median samples to the target of those runs, at least the longest "
    "schedule, in whole evaluation intervals; the same for every arm"
)
_OTHER = "give another task.directory"


def open_study(
    directory: Path,
    config: Config,
    arms: list[Arm],
    stacks: list[dict[str, Any]],
    command: str,
    data_key: str | None = None,
) -> StudyRecord:
    """Register a study, or continue the one in the directory.

    Parameters
    ----------
    directory
        The study's directory.
    config
        The wanted study.
    arms
        Its arms.
    stacks
        Which runs share a stack.
    command
        What was typed.
    data_key
        Identity of the data.

    Raises
    ------
    ConfigError
        If the directory holds a study of something else, or of other data.
    RecordsError
        If it holds a study that cannot be read, or is not continued.
    """
    wanted = _to_register(config, arms, stacks, data_key)
    if not (directory / "study.json").exists():
        text = json.dumps(_given(wanted), sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        study = StudyRecord(name=directory.name, hash=digest, registered=wanted)
    else:
        study = _registered_before(directory)
        _amend(directory, study, wanted)
    if command not in study.commands:
        study.commands.append(command)
    write_study(directory, study)
    return study


def check_registration(
    directory: Path,
    config: Config,
    arms: list[Arm],
    stacks: list[dict[str, Any]],
    data_key: str | None,
) -> None:
    """Raise what `open_study` would raise; nothing is written."""
    if (directory / "study.json").exists():
        wanted = _to_register(config, arms, stacks, data_key)
        _amend(directory, _registered_before(directory), wanted)


def _registered_before(directory: Path) -> StudyRecord:
    try:
        study = read_study(directory)
    except RecordsError as error:
        raise type(error)(error.fact, _OTHER) from error
    if study.format_version != FORMAT_VERSION:
        raise FormatVersionError(
            f"{directory} holds a study of format version {study.format_version}, which is read "
            "but not continued",
            _OTHER,
        )
    return study


def _to_register(
    config: Config, arms: list[Arm], stacks: list[dict[str, Any]], data_key: str | None
) -> Registered:
    task = config.task
    assert isinstance(task, StudyOptions) and config.gpus is not None
    metric = build_objective(config.objective).metric(config.metric)
    settings = {
        "dataset": config.dataset,
        "model": config.model,
        "objective": config.objective,
        "optimizer": asdict(config.optimizer),
        "micro_batch": config.micro_batch,
        "grad_accum": config.grad_accum,
        "eval_interval_samples": config.eval_interval_samples,
        "precision": config.precision,
        "clip_grad_norm": config.clip_grad_norm,
    }
    return Registered(
        gpus=config.gpus,
        settings=plain(without_secrets(settings)),
        arms=tuple(arm.registered() for arm in arms),
        seeds=tuple(range(task.first_seed, task.first_seed + task.seeds)),
        tuning_seeds=tuple(task.tuning_seed_list()),
        target_seeds=tuple(task.target_seed_list()),
        trials=task.trials,
        rates=(task.lowest_lr, task.highest_lr),
        base_lr=config.base_lr,
        target=config.target,
        target_rule=_target_rule(task, metric) if config.target is None else "given",
        budget_rule=BUDGET_RULE.format(factor=task.budget_factor)
        if config.budget_samples is None
        else f"given: {config.budget_samples} samples",
        range_test_seeds=task.range_test_seeds,
        sampler_seed=task.sampler_seed,
        stacks=stacks,
        metric=metric.name,
        direction=metric.direction,
        data_key=data_key,
    )


def _target_rule(task: StudyOptions, metric: Metric) -> str:
    margin = metric.margin if task.margin is None else task.margin
    return TARGET_RULE.format(
        metric=metric.title,
        seeds=task.target_seeds,
        sign="minus" if metric.direction == "max" else "plus",
        margin="2% of its distance to the value at chance" if margin is None else margin,
    )


def _amend(directory: Path, study: StudyRecord, wanted: Registered) -> None:
    """Take up new arms and seeds; refuse any other change."""
    then, now = (
        {
            key: value
            for key, value in _settled(registered).items()
            if key not in ("arms", "seeds", "stacks")
        }
        for registered in (study.registered, wanted)
    )
    changed = [f"{key} was {a} and is now {b}" for key, a, b in differences(then, now)]
    known = {arm.name: arm for arm in study.arms}
    changed += [
        f"arm {arm.name} was {_shown(known[arm.name])} and is now {_shown(arm)}"
        for arm in wanted.arms
        if arm.name in known and known[arm.name] != arm
    ]
    if changed:
        raise ConfigError(
            f"{directory} holds another study: {'; '.join(changed)}",
            "give another task.directory, or the options and the data that it was begun with; "
            "arms and seeds may be added",
        )
    arms_added = tuple(arm for arm in wanted.arms if arm.name not in known)
    seeds_added = tuple(seed for seed in wanted.seeds if seed not in study.seeds)
    if arms_added or seeds_added:
        study.amendments.append(Amendment(arms_added, seeds_added))


def _settled(registered: Registered) -> dict[str, Any]:
    """Everything that is registered, in plain containers."""
    return {
        key: msgspec.to_builtins(getattr(registered, key)) for key in registered.__struct_fields__
    }


def _given(registered: Registered) -> dict[str, Any]:
    """The same without what has its default value, so that a hash outlives new fields."""
    default = {each.name: each.default for each in msgspec.structs.fields(Registered)}
    return {
        key: value
        for key, value in _settled(registered).items()
        if default[key] is msgspec.NODEFAULT or value != default[key]
    }


def _shown(arm: Any) -> Any:
    return msgspec.to_builtins(arm)
