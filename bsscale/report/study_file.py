"""study.json, read leniently: every field may be missing, null or of another type."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsscale.errors import RecordsError

__all__ = ["Study", "StudyArm", "Trial", "Tuning", "numbers_of", "parse_study"]

FORMAT_VERSION = 1


@dataclass(frozen=True)
class StudyArm:
    """An arm that was planned: its name, its role (baseline, arm or control) and its gpus."""

    name: str
    role: str
    gpus: int | None


@dataclass(frozen=True)
class Trial:
    """One learning rate of a tuning, over its seeds."""

    lr: float
    best_auc: float | None
    samples_to_target: float | None
    seeds: int | None


@dataclass(frozen=True)
class Tuning:
    """How an arm's learning rate was found.

    Attributes
    ----------
    edge
        low or high if the best trial is at that end of the grid.
    extended
        How often the grid was extended because of that.
    """

    name: str
    gpus: int | None
    samples: int | None
    best: float | None
    edge: str | None
    extended: int
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Study:
    """What study.json says.

    Attributes
    ----------
    arms, seeds
        As registered, then what amendments added.
    registered
        What else was settled beforehand: a line each, name and value.
    amendments
        A sentence each.
    """

    directory: Path
    name: str
    hash: str
    target: float | None
    base_lr: float | None
    arms: tuple[StudyArm, ...]
    seeds: tuple[int, ...]
    registered: Mapping[str, str]
    amendments: tuple[str, ...]
    deviations: tuple[str, ...]
    tunings: tuple[Tuning, ...]
    cost_samples: float | None
    cost_wall_s: float | None
    commands: tuple[str, ...]

    @property
    def baseline(self) -> str | None:
        """The name of the arm that the others are compared with."""
        return next((arm.name for arm in self.arms if arm.role == "baseline"), None)

    def role(self, arm: str) -> str | None:
        """What an arm was registered as."""
        return next((a.role for a in self.arms if a.name == arm and a.role), None)


def parse_study(directory: Path, data: object) -> Study:
    """Take from study.json what is there.

    Raises
    ------
    RecordsError
        If it is no study, or of another format.
    """
    path = directory / "study.json"
    version = data.get("format_version") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or version not in (None, FORMAT_VERSION):
        raise RecordsError(
            f"{path} has format_version {version}, and this bsscale reads {FORMAT_VERSION}; "
            "its runs are shown without it",
            "read it with the bsscale that wrote it",
        )
    registered = _mapping(data.get("registered"))
    amendments = [_mapping(each) for each in _list(data.get("amendments"))]
    arms = [*_arms(registered.get("arms"))]
    seeds = [*_integers(registered.get("seeds"))]
    said = []
    for amendment in amendments:
        more_arms = _arms(amendment.get("arms_added"))
        more_seeds = _integers(amendment.get("seeds_added"))
        arms += more_arms
        seeds += more_seeds
        parts = []
        if more_arms:
            parts.append("arms added: " + ", ".join(arm.name for arm in more_arms))
        if more_seeds:
            parts.append("seeds added: " + ", ".join(map(str, more_seeds)))
        said.append("; ".join(parts) or "an amendment that says neither arms nor seeds")
    cost = numbers_of(_mapping(data.get("cost")), ("samples", "wall_s"))
    return Study(
        directory=directory,
        name=_text(data.get("name")) or directory.resolve().name,
        hash=_text(data.get("hash")),
        target=number(data.get("target")),
        base_lr=number(data.get("base_lr")),
        arms=tuple({arm.name: arm for arm in reversed(arms)}.values())[::-1],
        seeds=tuple(dict.fromkeys(seeds)),
        registered=_settled(registered),
        amendments=tuple(said),
        deviations=tuple(map(str, _list(data.get("deviations")))),
        tunings=tuple(_tuning(_mapping(each)) for each in _list(data.get("tunings"))),
        cost_samples=cost.get("samples"),
        cost_wall_s=cost.get("wall_s"),
        commands=tuple(map(str, _list(data.get("commands")))),
    )


def _arms(value: object) -> list[StudyArm]:
    arms = []
    for each in _list(value):
        arm = {"name": each} if isinstance(each, str) else _mapping(each)
        if name := _text(arm.get("name")):
            arms.append(StudyArm(name, _text(arm.get("role")), _integer(arm.get("gpus"))))
    return arms


def _settled(registered: Mapping[Any, Any]) -> dict[str, str]:
    lines: dict[str, str] = {}
    for key, value in registered.items():
        if key == "settings":
            lines |= {str(name): _shown(each) for name, each in _mapping(value).items()}
        elif key != "arms":
            lines[str(key).replace("_", " ")] = _shown(value)
    for arm in map(_mapping, _list(registered.get("arms"))):
        schedule = _mapping(arm.get("schedule"))
        described = ", ".join(f"{key}={_shown(each)}" for key, each in schedule.items())
        role = f"{_text(arm.get('role')) or 'arm'}, {_shown(arm.get('gpus'))} gpus"
        lines[f"arm {_text(arm.get('name'))}"] = f"{role}: {described}"
    return lines


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_shown(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return "-" if value is None else str(value)


def _tuning(data: Mapping[Any, Any]) -> Tuning:
    trials = []
    for trial in map(_mapping, _list(data.get("trials"))):
        lr = number(trial.get("lr"))
        if lr is not None and lr > 0:
            auc, samples = number(trial.get("best_auc")), number(trial.get("samples_to_target"))
            trials.append(Trial(lr, auc, samples, _integer(trial.get("seeds"))))
    return Tuning(
        name=_text(data.get("name")) or "tuning",
        gpus=_integer(data.get("gpus")),
        samples=_integer(data.get("samples")),
        best=number(data.get("best")),
        edge=_text(data.get("edge")) or None,
        extended=_integer(data.get("extended")) or 0,
        trials=tuple(sorted(trials, key=lambda trial: trial.lr)),
    )


def number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def numbers_of(data: Mapping[Any, Any], names: Sequence[str]) -> dict[str, float]:
    """Those of the named values that are finite numbers."""
    found = {name: number(data.get(name)) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _integer(value: object) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def _integers(value: object) -> list[int]:
    return [found for each in _list(value) if (found := _integer(each)) is not None]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}
