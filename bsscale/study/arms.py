"""The arms of a study, from its configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from bsscale.config.files import typed
from bsscale.config.schedules import resolve
from bsscale.errors import ConfigError
from bsscale.files.replace import plain
from bsscale.records.study_record import RegisteredArm
from bsscale.schedules.options import SCHEDULES, CustomScheduleConfig, FixedConfig, ScheduleConfig
from bsscale.schedules.options.given import given_options, make_schedule
from bsscale.schedules.options.scaling import ScalingConfig, given_scaling, make_scaling
from bsscale.study.options import OWN, StudyArm, StudyOptions

__all__ = [
    "Arm",
    "Searched",
    "at_rate",
    "depends_on_base_lr",
    "make_arms",
    "primary_arm",
    "tuned_arms",
]


Role: TypeAlias = Literal["baseline", "arm", "control"]


@dataclass(frozen=True)
class Searched:
    """What a search trains at each of its rates; see `Arm`."""

    gpus: int
    schedule: ScheduleConfig
    scaling: ScalingConfig = field(default_factory=ScalingConfig)
    own: Mapping[str, Any] = field(default_factory=dict)


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
        base_lr: the rate tuned at 1 GPU; tuned: a search at its own `gpus`, for the peak of a
        schedule that has one, else for base_lr, which its scaling rule then moves.
    preset
        Whether a range test at its `gpus` gives the cycle's rates and lengths.
    schedule
        Its schedule.
    scaling
        Its scaling rule.
    own
        Options of its runs that others do not have, by name (`OWN`).
    """

    name: str
    role: Role
    gpus: int
    rate: str
    preset: bool
    schedule: ScheduleConfig
    scaling: ScalingConfig
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def searched(self) -> Searched:
        """What a search trains at its rates: arms that have it in common share their search."""
        return Searched(self.gpus, self.schedule, self.scaling, self.own)

    def registered(self) -> RegisteredArm:
        """The arm in the form of study.json."""
        moves = self.scaling.name != "none"
        return RegisteredArm(
            name=self.name,
            role=self.role,
            gpus=self.gpus,
            rate=self.rate,
            preset=self.preset,
            schedule=plain(given_options(self.schedule)),
            scaling=plain(given_scaling(self.scaling)) if moves else None,
            own=plain(self.own) if self.own else None,
        )


def make_arms(task: StudyOptions, gpus: int) -> list[Arm]:
    """The arms of a study's configuration, checked.

    Raises
    ------
    ConfigError
        For an arm that cannot be run, or if there is not one baseline.
    """
    arms = [
        _arm(str(name), options, gpus)
        for name, options in task.arms.items()
        if options is not None  # (how a file of options leaves an arm out)
    ]
    baselines = [arm.name for arm in arms if arm.role == "baseline"]
    if len(baselines) != 1:
        raise ConfigError(
            f"the study has {len(baselines)} baselines: {', '.join(baselines) or 'none'}",
            "give exactly one arm role=baseline; the others are compared with it",
        )
    return arms


def primary_arm(task: StudyOptions, arms: Sequence[Arm]) -> str | None:
    """The name of the arm that the study is about; None where several arms could be.

    Raises
    ------
    ConfigError
        If ``task.primary`` names no arm, or the baseline.
    """
    if task.primary is None:
        own = [arm.name for arm in arms if arm.role == "arm"]
        cycles = [arm.name for arm in arms if arm.name == "onecycle" and arm.preset]
        return next(iter(cycles), own[0] if len(own) == 1 else None)
    candidates = [arm.name for arm in arms if arm.role != "baseline"]
    if task.primary not in candidates:
        raise ConfigError(
            f"task.primary={task.primary} is no arm that is compared with the baseline",
            f"give one of {', '.join(candidates)}",
        )
    return task.primary


def tuned_arms(arms: Sequence[Arm]) -> dict[str, Arm]:
    """The arms whose rate is searched for, by name; one of several that are the same."""
    found: dict[str, Arm] = {}
    for arm in arms:
        # (A constant rate at 1 GPU is base_lr itself.)
        is_base_lr = arm.gpus == 1 and arm.schedule == FixedConfig() and not arm.own
        known = [each.searched for each in found.values()]
        if arm.rate == "tuned" and not is_base_lr and arm.searched not in known:
            found[arm.name] = arm
    return found


def at_rate(schedule: ScheduleConfig, rate: float, base_lr: float) -> tuple[ScheduleConfig, float]:
    """A schedule and the base_lr with which it has a rate that a search tries.

    Parameters
    ----------
    schedule
        That of the arm. If it has a peak, the search tries peaks; else it tries base_lr.
    rate
        The tried rate.
    base_lr
        The rate tuned at 1 GPU, for a schedule with a peak.
    """
    peaked = schedule.at_peak(rate)
    return (schedule, rate) if peaked is None else (peaked, base_lr)


def depends_on_base_lr(arm: Arm) -> bool:
    """Whether an arm at several GPUs trains at rates that follow from base_lr."""
    return arm.gpus > 1 and arm.rate == "base_lr" and not arm.preset and arm.role == "arm"


def _arm(name: str, given_options: Any, gpus: int) -> Arm:
    _check_name(name)
    where = f"task.arms.{name}"
    if not isinstance(given_options, Mapping):
        raise ConfigError(
            f"{where}={given_options} is no arm",
            "give schedule={name: ...}, and scaling, role, gpus, rate or preset if need be",
        )
    given_options = dict(given_options)
    if isinstance(given_options.get("schedule"), str):  # (its name alone)
        given_options["schedule"] = {"name": given_options["schedule"]}
    options = typed(StudyArm, given_options, where)
    schedule = str(options.schedule.get("name", ""))
    if schedule not in SCHEDULES:
        raise ConfigError(
            f"{where}.schedule.name={schedule} is no schedule",
            f"give one of {', '.join(SCHEDULES)}",
        )
    if options.preset and options.rate == "tuned":
        raise ConfigError(
            f"{where} has preset=true and rate=tuned: a range test and a search would both give "
            "its peak",
            "give one of them",
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
    if SCHEDULES[schedule] is CustomScheduleConfig:  # (its options are those of its target)
        built = make_schedule(options.schedule)
    else:
        built = typed(SCHEDULES[schedule], options.schedule, f"{where}.schedule")
    try:
        scaling = make_scaling(options.scaling)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.fact}", error.remedy) from None
    if options.preset and scaling.name != "none":
        raise ConfigError(
            f"{where}: preset=true finds rates at the arm's own gpus, and "
            f"scaling={scaling.name} would move them once more",
            "give one of them",
        )
    own = {key: getattr(options, key) for key in OWN if getattr(options, key) is not None}
    _check_own(where, options, own)
    built = resolve(built)
    if options.rate == "tuned":
        _check_peak(where, built, scaling)
    return Arm(
        name=name,
        role=cast("Role", options.role),
        gpus=gpus if options.gpus is None else options.gpus,
        rate=options.rate,
        preset=options.preset,
        schedule=built,
        scaling=scaling,
        own=own,
    )


def _check_own(where: str, options: StudyArm, own: Mapping[str, Any]) -> None:
    """Raise ConfigError where the steps before the arms' runs would not have its own options."""
    if not own:
        return
    given = ", ".join(f"{key}={value}" for key, value in own.items())
    if options.role == "baseline":
        raise ConfigError(
            f"{where} is the baseline and has {given}, and the runs that tune base_lr and fix the "
            "target would not have it",
            f"give another arm {given}, or all runs: leave it out of the arm, and give the option "
            "itself",
        )
    if options.preset:
        raise ConfigError(
            f"{where} has preset=true and {given}, which its range test would not have",
            "give rate=tuned instead of preset=true",
        )


def _check_peak(where: str, schedule: ScheduleConfig, scaling: ScalingConfig) -> None:
    """Raise ConfigError where a search has nothing to look for, or a rule would move its peaks."""
    try:
        peaked = schedule.at_peak(1.0)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.fact}", error.remedy) from None
    if peaked is not None and scaling.name != "none":
        raise ConfigError(
            f"{where}: rate=tuned finds the peak of {schedule.name} at the arm's own gpus, and "
            f"scaling={scaling.name} would move it once more",
            "give one of them; or a schedule without a peak of its own, such as schedule=fixed: "
            "the search then tries base_lr, and the rule moves it",
        )


def _check_name(name: str) -> None:
    """An arm's name is that of a directory in the study's."""
    if not re.fullmatch(r"\w[\w.+=@-]{0,99}", name):
        raise ConfigError(
            f"task.arms has the name {name!r}, and a directory is named after it",
            "give up to 100 letters, digits, and _ . + = @ -, the first a letter, a digit or _",
        )
