"""The options of tracker=wandb and task=dashboard."""

from __future__ import annotations

from dataclasses import dataclass

from bsscale.config import TaskOptions, TrackerOptions
from bsscale.errors import ConfigError

__all__ = ["DashboardOptions", "WandbOptions"]


@dataclass
class WandbOptions(TrackerOptions):
    """Weights & Biases."""

    name: str = "wandb"
    project: str = "bsscale"
    mode: str | None = None


@dataclass
class DashboardOptions(TaskOptions):
    """task=dashboard."""

    name: str = "dashboard"
    publish: str | None = None

    def destination(self) -> tuple[str, str]:
        """Entity and project.

        Raises
        ------
        ConfigError
            If `publish` is given and does not name both.
        """
        if self.publish is None:
            return "", "bsscale"
        entity, separator, project = self.publish.partition("/")
        if not (entity and separator and project) or "/" in project:
            raise ConfigError(
                f"task.publish={self.publish} is not a W&B project",
                "give task.publish=ENTITY/PROJECT, as in the project's address on wandb.ai",
            )
        return entity, project
