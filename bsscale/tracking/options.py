"""The options of tracker=wandb and task=dashboard."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bsscale.config import TaskOptions, TrackerOptions
from bsscale.errors import ConfigError

__all__ = ["SHORT_HASH", "DashboardOptions", "WandbOptions"]

# W&B shows so many characters of a study's hash or of a key of data.
SHORT_HASH = 8

# W&B's own limits.
_NOT_IN_PROJECTS = "/\\#?%:"
LONGEST_PROJECT = 128


@dataclass
class WandbOptions(TrackerOptions):
    """Weights & Biases."""

    name: str = "wandb"
    project: str = "bsscale"
    mode: str | None = None

    def check(self) -> None:
        """Raise ConfigError for a mode or a project that W&B would refuse later."""
        if self.mode not in (None, "online", "offline"):
            raise ConfigError(
                f"tracker.mode={self.mode} is not one of its values",
                "give online or offline, or tracker=none to mirror nothing",
            )
        if self.mode_now not in ("online", "offline", "disabled"):
            raise ConfigError(
                f"WANDB_MODE={self.mode_now} is not a mode of W&B that bsscale knows",
                "set it to online, offline or disabled, or unset it",
            )
        wrong = [sign for sign in self.project if sign in _NOT_IN_PROJECTS]
        if wrong or not 0 < len(self.project) <= LONGEST_PROJECT:
            fact = f"contains {wrong[0]!r}" if wrong else f"has {len(self.project)} characters"
            raise ConfigError(
                f"tracker.project={self.project!r} {fact}",
                f"give 1 to {LONGEST_PROJECT} characters without any of {_NOT_IN_PROJECTS}; W&B "
                "takes the entity from WANDB_ENTITY",
            )

    @property
    def mode_now(self) -> str:
        """The given mode, or else WANDB_MODE, or else offline; disabled: nothing is mirrored."""
        # (empty has the same meaning as unset)
        environment = os.environ.get("WANDB_MODE") or "offline"
        environment = {"dryrun": "offline", "run": "online"}.get(environment, environment)
        if environment == "disabled" or self.mode is None:
            return environment
        return self.mode


@dataclass
class DashboardOptions(TaskOptions):
    """task=dashboard."""

    name: str = "dashboard"
    publish: str | None = None
    study: str | None = None
    dataset: str | None = None
    target: float | None = None

    def only(self) -> dict[str, str | float]:
        """What the shown runs have in common, as `bsscale.tracking.derived` names it.

        Raises
        ------
        ConfigError
            If `study` is too short to be the hash of a study.
        """
        if self.study is not None and len(self.study) < SHORT_HASH:
            raise ConfigError(
                f"task.study={self.study} is not the hash of a study",
                f"give at least the first {SHORT_HASH} characters of `hash` in its study.json",
            )
        study = None if self.study is None else self.study[:SHORT_HASH]
        given = {"study": study, "dataset": self.dataset, "target": self.target}
        return {key: value for key, value in given.items() if value is not None}

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
