"""Arms: what runs that differ only in their seed have in common."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["NOT_IN_ARM", "arm_hash", "arm_label", "differences", "identifying", "is_identifying"]

# Fields that do not change the training of an arm.
NOT_IN_ARM = (
    "seed",
    "tracker",
    "task",
    "dry_run",
    "resume",
    "checkpoint_interval_samples",
    "workers",
    "noise_scale",
    "weights",
)

# Options that older records do not have; null is the training of these records.
_SINCE = ("cowclip", "cowclip_bound", "ema_half_life_samples")

# Options of a trainer that only say how long to wait for it and what it costs.
_NOT_OF_TRAINER = ("silence_s", "samples_per_s")
# Keys that the identity of the data stands for, in a run and in a study's settings.
_OF_THE_DATA = re.compile(r"(settings\.)?dataset\.(?!name$)")


def arm_label(schedule: str, gpus: int, overrides: Sequence[str] = ()) -> str:
    """An arm in a few words: its schedule and gpus, then what else was overridden.

    Parameters
    ----------
    schedule
        Name of the schedule.
    gpus
        Number of replicas.
    overrides
        The command line's overrides.
    """
    rest = [
        override
        for override in overrides
        if override.lstrip("+~").split("=")[0].split(".")[0]
        not in (*NOT_IN_ARM, "schedule", "gpus", "trainer", "hydra")
        or override.lstrip("+~").startswith("schedule.")
    ]
    return " ".join([schedule, f"gpus={gpus}", *rest])


def arm_hash(config: Mapping[str, Any]) -> str:
    """Twelve hex digits of the resolved configuration less seed, tracker and task.

    Parameters
    ----------
    config
        The resolved configuration, plain containers.
    """
    kept = {
        key: value
        for key, value in config.items()
        if key not in NOT_IN_ARM and not (key in _SINCE and value is None)
    }
    if isinstance(trainer := kept.get("trainer"), Mapping):
        kept["trainer"] = identifying(trainer)
        if kept["trainer"] == {"name": "bsscale"}:  # (older records have none)
            del kept["trainer"]
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def identifying(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a trainer that change what it trains."""
    return {key: value for key, value in trainer.items() if key not in _NOT_OF_TRAINER}


def is_identifying(key: str) -> bool:
    """Whether an option, by its dotted key, changes what is trained."""
    group, _, option = key.partition(".")
    return not (group == "trainer" and option in _NOT_OF_TRAINER)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The differences of two configurations: the dotted key and both values; None if absent.

    Where both have the same ``data_key``, the data are the same, however the data set's options
    (the path of a file, for instance) have come to differ: of these only the name is compared.

    Parameters
    ----------
    then, now
        Plain containers.
    """
    found = _differences(then, now)
    if then.get("data_key") is None or then.get("data_key") != now.get("data_key"):
        return found
    return [each for each in found if not _OF_THE_DATA.match(each[0])]


def _differences(
    then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> list[tuple[str, Any, Any]]:
    found = []
    for key in sorted({*then, *now}):
        a, b = then.get(key), now.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append((f"{prefix}{key}", a, b))
    return found
