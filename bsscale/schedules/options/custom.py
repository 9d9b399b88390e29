"""A schedule of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from bsscale.schedules import Custom, Schedule, checks
from bsscale.schedules.options.base import ScheduleConfig, ScheduleContext

__all__ = ["CustomScheduleConfig"]

# Numbers of the run that are passed to the target if it has a parameter of that name.
_RUN_NUMBERS = ("base_lr", "gpus", "global_batch", "samples_per_pass")


@dataclass
class CustomScheduleConfig(ScheduleConfig):
    """Any object with ``lr(step)``, by the import path of its class (see `schedules.Custom`).

    Attributes
    ----------
    options
        Keyword arguments of the target: every option that has no field of its own.
    """

    name: str = "custom"
    _target_: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> CustomScheduleConfig:
        known = {each.name for each in fields(cls)}
        made = cls(**{key: value for key, value in values.items() if key in known})
        own = {str(key): value for key, value in values.items() if key not in known}
        return cls(made.name, made._target_, checks.joined("schedule", made.options, own))

    def build(self, context: ScheduleContext) -> Schedule:
        target = checks.imported("schedule._target_", self._target_, "my_module.MySchedule")
        takes = checks.parameters_of(target)
        numbers = {key: getattr(context, key) for key in _RUN_NUMBERS if key in takes}
        given = {key: number for key, number in numbers.items() if number is not None}
        if "base_lr" in given and context.lr_factor is not None:  # a scaling rule sets its peak
            given["base_lr"] *= context.lr_factor
        return Custom(self._target_, {**given, **self.options})
