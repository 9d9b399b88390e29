"""W&B's offline runs, read by ``wandb leet inspect``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bsscale.bridge.curves.curve import SETTINGS
from bsscale.bridge.curves.places import place_of
from bsscale.bridge.curves.rows import OneRun, Rows
from bsscale.bridge.curves.wanted import Wanted
from bsscale.errors import RecordsError

__all__ = ["read_wandb"]

# It asks no server anything.
_OFFLINE = {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false"}


def read_wandb(path: Path, wanted: Wanted) -> Rows:
    """The history of a run, a row for each call of ``wandb.log``.

    Its arm is ``arm`` in the run's config, or its group; its seed is ``seed`` in its config.

    Parameters
    ----------
    path
        The file run-ID.wandb.
    wanted
        What is read.

    Raises
    ------
    RecordsError
        If it cannot be read, or nothing says what its arm is.
    """
    records = _records(path)
    rows = [record["history"]["item"] for record in records if record["type"] == "history"]
    if not rows:
        raise RecordsError(f"{path} has no history: nothing was logged", "leave it out")
    names = dict.fromkeys(name for row in rows for name in row)
    columns: dict[str, list[object]] = {name: [row.get(name) for row in rows] for name in names}
    if "_step" in columns:
        columns.setdefault("step", columns["_step"])
    return Rows(
        path,
        "W&B offline run",
        {name: values for name, values in columns.items() if not name.startswith("_")},
        numbered_from=0,
        row_word="history row",
        run=_run(path, records, wanted),
        samples_remedy="log samples beside the metric, or say how many samples a step of W&B is by "
        "task.samples_per_step=N, or ",
    )


def _records(path: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-P", "-m", "wandb", "leet", "inspect", "--json", str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **_OFFLINE}
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it gave no reason"]
        raise RecordsError(
            f"wandb cannot read {path}: {said[-1]}",
            "give a whole file run-ID.wandb; older versions of wandb cannot read one: pip install "
            "'wandb>=0.31'",
        )
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]


def _run(path: Path, records: Sequence[Mapping[str, Any]], wanted: Wanted) -> OneRun:
    about: dict[str, Any] = {}
    config: dict[str, Any] = {}
    for record in records:
        if record["type"] == "run":
            about |= record["run"]
        update = record.get("config") or record.get("run", {}).get("config") or {}
        config |= dict(_flat(update.get("update", {})))
    settings = {
        name: config[name]
        for name in SETTINGS
        if isinstance(config.get(name), int) and config[name] > 0
    }
    if wanted.layout is not None:
        return OneRun(*place_of(path, wanted.layout), settings)
    arm = config.get(wanted.names.arm, about.get("run_group"))
    if arm in (None, ""):
        keys = ", ".join(name for name in config if not name.startswith("_")) or "none"
        raise RecordsError(
            f"{path} does not say its arm: it has no group, and no {wanted.names.arm!r} in its "
            f"config (there: {keys})",
            "name a key of the config: task.columns.arm=KEY, or use the path: "
            "'task.layout=ARM/wandb/*/*'",
        )
    seed = config.get(wanted.names.seed)
    return OneRun(str(arm), seed if isinstance(seed, int) else None, settings)


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a nested configuration, with dots."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
