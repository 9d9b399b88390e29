"""The schedule of a DeepSpeed configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bsscale.errors import ConfigError
from bsscale.schedules import Schedule, from_deepspeed
from bsscale.schedules.options.base import (
    Reader,
    ScheduleConfig,
    ScheduleContext,
    unread_file_error,
)

__all__ = ["DeepSpeedConfig"]


@dataclass
class DeepSpeedConfig(ScheduleConfig):
    """The scheduler of a ds_config.json, whose rates and steps are used as they stand."""

    name: str = "deepspeed"
    config: Any = None

    def resolved(self, reader: Reader) -> DeepSpeedConfig:
        if not isinstance(self.config, str):
            return self
        content = reader.read_json("schedule.config", self.config)
        return replace(self, config=content.get("scheduler", content))

    def build(self, context: ScheduleContext) -> Schedule:
        if isinstance(self.config, str):
            raise unread_file_error("config", self.config)
        if self.config is None:
            raise ConfigError(
                "schedule=deepspeed without a configuration",
                "give schedule.config=path/to/ds_config.json",
            )
        return from_deepspeed(self.config, context.base_lr)
