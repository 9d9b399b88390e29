"""What a study sets out to do, written down before its first run; and study.json, where it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bsscale.arms import differences
from bsscale.config import Config, StudyArm, StudyTask
from bsscale.errors import ConfigError, RecordsError
from bsscale.records import write_json
from bsscale.schedule_config import SCHEDULES, ScheduleConfig

__all__ = ["Arm", "StudyFile", "given_options", "make_arms", "make_schedule", "open_study"]

FORMAT_VERSION = 1
BASELINE = "one_gpu"

TARGET_RULE = (
    "median best validation AUC of {seeds} runs at 1 GPU and the tuned rate, one pass each, "
    "minus {margin}"
)
BUDGET_RULE = (
    "{factor:g} times the median samples to the target of those runs, at least the longest "
    "schedule, in whole evaluation intervals; the same for every arm"
)


@dataclass(frozen=True)
class Arm:
    """One way to train, run on every seed.

    Attributes
    ----------
    name
        As it is recorded and shown.
    role
        baseline (one), arm or control.
    gpus
        Its number of replicas.
    rate
        base_lr: the rate tuned at 1 GPU; tuned: one tuned at its own `gpus`.
    preset
        Whether a range test at its `gpus` gives the cycle's rates and lengths.
    schedule
        Its schedule.
    """

    name: str
    role: str
    gpus: int
    rate: str
    preset: bool
    schedule: ScheduleConfig


def make_arms(task: StudyTask, gpus: int) -> list[Arm]:
    """The arms of a study's configuration, checked.

    Raises
    ------
    ConfigError
        For an arm that cannot be run, or if there is not one baseline.
    """
    arms = [_arm(name, options, gpus) for name, options in task.arms.items()]
    baselines = [arm.name for arm in arms if arm.role == "baseline"]
    if len(baselines) != 1:
        raise ConfigError(
            f"the study has {len(baselines)} baselines: {', '.join(baselines) or 'none'}",
            "give exactly one arm role=baseline; the others are compared with it",
        )
    return arms


def _arm(name: str, given_options: Any, gpus: int) -> Arm:
    try:
        options = StudyArm(**given_options)
        schedule = str(dict(options.schedule).get("name", ""))
    except TypeError as error:
        raise ConfigError(
            f"task.arms.{name}={given_options}: {error}",
            "give schedule={name: ...}, and role, gpus, rate or preset if need be",
        ) from None
    if schedule not in SCHEDULES:
        raise ConfigError(
            f"task.arms.{name}.schedule.name={schedule} is no schedule",
            f"give one of {', '.join(SCHEDULES)}",
        )
    if options.preset and schedule != "onecycle":
        raise ConfigError(
            f"task.arms.{name}.preset=true with schedule {schedule}",
            "a range test suggests a 1-Cycle: give schedule.name=onecycle, or preset=false",
        )
    for key, value, choices in (
        ("role", options.role, ("baseline", "arm", "control")),
        ("rate", options.rate, ("base_lr", "tuned")),
    ):
        if value not in choices:
            raise ConfigError(
                f"task.arms.{name}.{key}={value} is not one of its values",
                f"give {' or '.join(choices)}",
            )
    try:
        built = make_schedule(options.schedule)
    except TypeError as error:
        raise ConfigError(
            f"task.arms.{name}.schedule: {error}", f"see conf/schedule/{schedule}.yaml"
        ) from None
    return Arm(
        name=name,
        role=options.role,
        gpus=gpus if options.gpus is None else options.gpus,
        rate=options.rate,
        preset=options.preset,
        schedule=built,
    )


@dataclass
class StudyFile:
    """study.json: what was registered, and what has been settled since. Replaced atomically.

    Attributes
    ----------
    directory
        The study's directory.
    registered, hash
        What the study set out to do, and its hash; they never change.
    amendments
        Arms and seeds that were added later.
    base_lr, target, target_runs, budget_samples
        Settled by the runs at 1 GPU, before any other.
    tunings
        What each search for a rate saw.
    deviations
        Where the study did not do what was registered.
    cost
        ``samples`` trained on and ``wall_s``, all starts together.
    commands
        What was typed, start after start.
    """

    directory: Path
    name: str
    registered: Mapping[str, Any]
    hash: str
    amendments: list[dict[str, Any]] = field(default_factory=list)
    base_lr: float | None = None
    target: float | None = None
    budget_samples: int | None = None
    tunings: list[dict[str, Any]] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=lambda: {"samples": 0, "wall_s": 0.0})
    commands: list[str] = field(default_factory=list)

    def save(self) -> None:
        """Replace study.json."""
        data = {"format_version": FORMAT_VERSION, **asdict(self)}
        del data["directory"]
        write_json(self.directory / "study.json", data)


def open_study(
    directory: Path, config: Config, arms: list[Arm], stacks: list[dict[str, Any]], command: str
) -> StudyFile:
    """Register a study, or go on with the one that is in the directory.

    Parameters
    ----------
    directory
        The study's directory.
    config
        What is asked for now.
    arms
        Its arms.
    stacks
        Which runs share a stack.
    command
        What was typed.

    Raises
    ------
    ConfigError
        If the directory holds a study of something else.
    """
    wanted = _to_register(config, arms, stacks)
    path = directory / "study.json"
    if not path.exists():
        text = json.dumps(wanted, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        study = StudyFile(directory, directory.name, wanted, digest)
    else:
        study = _read(directory)
        _amend(study, wanted)
    if command not in study.commands:
        study.commands.append(command)
    study.save()
    return study


def _to_register(config: Config, arms: list[Arm], stacks: list[dict[str, Any]]) -> dict[str, Any]:
    task = config.task
    assert isinstance(task, StudyTask)
    return _plain(
        {
            "gpus": config.gpus,
            "settings": {
                "dataset": config.dataset,
                "model": config.model,
                "optimizer": asdict(config.optimizer),
                "micro_batch": config.micro_batch,
                "grad_accum": config.grad_accum,
                "eval_interval_samples": config.eval_interval_samples,
                "precision": config.precision,
                "clip_grad_norm": config.clip_grad_norm,
            },
            "arms": [{**asdict(arm), "schedule": given_options(arm.schedule)} for arm in arms],
            "seeds": list(range(task.first_seed, task.first_seed + task.seeds)),
            "tuning_seeds": task.tuning_seed_list(),
            "target_seeds": task.target_seed_list(),
            "trials": task.trials,
            "rates": [task.lowest_lr, task.highest_lr],
            "base_lr": config.base_lr,
            "target": config.target,
            "target_rule": TARGET_RULE.format(seeds=task.target_seeds, margin=task.margin_auc)
            if config.target is None
            else "given",
            "budget_rule": BUDGET_RULE.format(factor=task.budget_factor)
            if config.budget_samples is None
            else f"given: {config.budget_samples} samples",
            "range_test_seeds": task.range_test_seeds,
            "stacks": stacks,
        }
    )


def given_options(schedule: ScheduleConfig) -> dict[str, Any]:
    """A schedule's name and the options that are not the default ones."""
    default = asdict(type(schedule)())
    options = {key: value for key, value in asdict(schedule).items() if value != default.get(key)}
    return {"name": schedule.name, **options}


def make_schedule(options: Mapping[str, Any]) -> ScheduleConfig:
    """The schedule with a name and options; raises TypeError for one that has no such option."""
    given = dict(options)
    return SCHEDULES[given.pop("name")](**given)


def _amend(study: StudyFile, wanted: Mapping[str, Any]) -> None:
    """Take up new arms and seeds; refuse any other change."""
    before = study.registered
    then, now = (
        {key: value for key, value in of.items() if key not in ("arms", "seeds", "stacks")}
        for of in (before, wanted)
    )
    changed = [f"{key} was {a} and is now {b}" for key, a, b in differences(then, now)]
    known = {arm["name"]: arm for arm in before["arms"]} | {
        arm["name"]: arm for amendment in study.amendments for arm in amendment["arms_added"]
    }
    changed += [
        f"arm {arm['name']} was {known[arm['name']]} and is now {arm}"
        for arm in wanted["arms"]
        if arm["name"] in known and known[arm["name"]] != arm
    ]
    if changed:
        raise ConfigError(
            f"{study.directory} holds a study of something else: {'; '.join(changed)}",
            "give another task.directory, or the options that it was begun with; arms and seeds "
            "may be added",
        )
    seeds = {*before["seeds"], *(s for a in study.amendments for s in a["seeds_added"])}
    arms_added = [arm for arm in wanted["arms"] if arm["name"] not in known]
    seeds_added = [seed for seed in wanted["seeds"] if seed not in seeds]
    if arms_added or seeds_added:
        study.amendments.append({"arms_added": arms_added, "seeds_added": seeds_added})


def _read(directory: Path) -> StudyFile:
    path = directory / "study.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("format_version", None) != FORMAT_VERSION:
            raise ValueError(f"it is not of format {FORMAT_VERSION}")
        return StudyFile(directory=directory, **data)
    except (OSError, ValueError, TypeError) as error:
        raise RecordsError(
            f"{path} cannot be read: {error}", "give another task.directory"
        ) from error


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """As it will be read back."""
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain
