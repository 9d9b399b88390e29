"""A schedule's options as plain containers, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bsscale.schedules.options import SCHEDULES, ScheduleConfig

__all__ = ["given_options", "make_schedule"]


def given_options(schedule: ScheduleConfig) -> dict[str, Any]:
    """A schedule's name and the options that are not the default ones."""
    default = asdict(type(schedule)())
    options = {key: value for key, value in asdict(schedule).items() if value != default.get(key)}
    return {"name": schedule.name, **options}


def make_schedule(options: Mapping[str, Any]) -> ScheduleConfig:
    """The schedule with a name and options; raises TypeError for one that has no such option."""
    given = dict(options)
    return SCHEDULES[given.pop("name")].of(given)
