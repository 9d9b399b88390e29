"""The files that a schedule's options name."""

from __future__ import annotations

from bsscale.config import files
from bsscale.schedules.options import ScheduleConfig

__all__ = ["resolve"]


def resolve(options: ScheduleConfig) -> ScheduleConfig:
    """The same options with the content of every file that they name in place of the name.

    Raises
    ------
    ConfigError
        If a file cannot be read, or if an option in it is unknown or has a wrong value.
    """
    return options.resolved(files)
