"""The commands that made some records, as Hydra saved them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

__all__ = ["command_of_directory", "is_training_job"]


def command_of_directory(directory: Path) -> str | None:
    """The command that made a run, or the multirun it is of; None where it is not saved."""
    for sweep in (directory, directory.parent):
        overrides = _overrides(sweep / "multirun.yaml")
        if overrides is not None:
            return _command(["-m", *overrides])
    overrides = _overrides(directory / ".hydra" / "overrides.yaml")
    return None if overrides is None else _command(overrides)


def _command(words: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "bsscale", *words])


def is_training_job(directory: Path) -> bool:
    """Whether a job without records was a training run.

    This follows from its saved configuration: task=train has no options of its own, other tasks
    have, and a dry run trains nothing.
    """
    config = _mapping(_saved(directory / ".hydra" / "config.yaml"))
    return not config.get("dry_run") and _mapping(config.get("task")).keys() <= {"name"}


def _overrides(path: Path) -> list[str] | None:
    """The command line's overrides, as Hydra saved them; None where it did not."""
    saved = _saved(path)
    if isinstance(saved, Mapping):
        saved = _mapping(_mapping(saved.get("hydra")).get("overrides")).get("task")
    return [str(word) for word in saved] if isinstance(saved, list) else None


def _saved(path: Path) -> object:
    """The content of a file that Hydra has saved; None where it cannot be read."""
    try:
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, ValueError, YAMLError, OmegaConfBaseException, RecursionError):
        return None


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}
