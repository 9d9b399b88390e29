"""The schedule of a DeepSpeed configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bsscale.config.files import read_json
from bsscale.errors import ConfigError
from bsscale.schedules import Schedule, from_deepspeed
from bsscale.schedules.options.base import ScheduleConfig, ScheduleContext

__all__ = ["DeepSpeedConfig"]


@dataclass
class DeepSpeedConfig(ScheduleConfig):
    """The scheduler of a ds_config.json, whose rates and steps are used as they stand.

    Attributes
    ----------
    config
        Path of the file, of which only the scheduler section is read; or that section itself.
    """

    name: str = "deepspeed"
    config: Any = None

    def resolved(self) -> DeepSpeedConfig:
        if not isinstance(self.config, str):
            return self
        content = read_json("schedule.config", self.config)
        return replace(self, config=content.get("scheduler", content))

    def build(self, context: ScheduleContext) -> Schedule:
        if isinstance(self.config, str):
            return self.resolved().build(context)
        if self.config is None:
            raise ConfigError(
                "schedule=deepspeed without a configuration",
                "give schedule.config=path/to/ds_config.json",
            )
        return from_deepspeed(self.config, context.base_lr)
