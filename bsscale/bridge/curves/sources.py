"""Which files hold curves, and what reads each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from bsscale.bridge.curves.jsonl import read_jsonl
from bsscale.bridge.curves.mlperf import TOKEN, read_mlperf
from bsscale.bridge.curves.rows import Rows
from bsscale.bridge.curves.table import read_table
from bsscale.bridge.curves.tensorboard import read_tensorboard
from bsscale.bridge.curves.wandb_offline import read_wandb
from bsscale.bridge.curves.wanted import Wanted
from bsscale.errors import RecordsError

__all__ = ["Source", "curve_files", "source_of"]

Reader: TypeAlias = Callable[[Path, Wanted], Rows]

_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.zst", ".tsv.zst", ".parquet", ".pq")
_LINES = (".jsonl", ".ndjson")
_LOGS = (".txt", ".log", ".out", "")
# What marks a directory of bsscale's own records, in which W&B's files are copies of them.
_OWN = {
    "run.json",
    "evals.jsonl",
    "study.json",
    "range_test.json",
    "comparison.json",
    "multirun.yaml",
}
# How much of a text file is searched for the first line of an MLPerf log.
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """A file or folder of curves, what reads it, and whether it is of one run.

    Attributes
    ----------
    path, read
        Where it is, and what reads it.
    one_run
        Whether a file or folder is one run, so that its path may say the arm and the seed.
    """

    path: Path
    read: Reader
    one_run: bool


def source_of(path: Path) -> Source:
    """How a file is read, by its name and its first lines.

    Raises
    ------
    RecordsError
        If no format is known for it.
    """
    found = _of_one_run(path)
    if found is not None:
        return found
    name = path.name.lower()
    if name.endswith(_LINES):
        return Source(path, lambda path, wanted: read_jsonl(path), one_run=False)
    if name.endswith(_TABLES):
        return Source(path, lambda path, wanted: read_table(path), one_run=False)
    raise RecordsError(
        f"{path} is no file of curves that is known here",
        f"give a table ({', '.join((*_TABLES, *_LINES))}), an MLPerf log (with lines of "
        f"{TOKEN.strip()}), a TensorBoard event file (with tfevents in its name) or a W&B run "
        "(run-ID.wandb)",
    )


def curve_files(directory: Path) -> list[Path]:
    """The sources of one run below a directory: event files' folders, W&B's runs, MLPerf logs.

    Tables are read if they are named. Directories of bsscale's own records are left out.
    """
    found: dict[Path, None] = {}
    for folder, names in _walk(directory):
        if any("tfevents" in name for name in names):
            found[folder] = None
        for name in names:
            if name.endswith(".wandb") or _is_log(folder / name):
                found[folder / name] = None
    return list(found)


def _walk(directory: Path) -> Iterator[tuple[Path, list[str]]]:
    for folder, inside, names in os.walk(directory):
        if _OWN & set(names):
            inside.clear()
            continue
        inside[:] = sorted(
            (name for name in inside if not name.startswith(".")),
            key=lambda name: (len(name), name),
        )
        yield Path(folder), sorted(names, key=lambda name: (len(name), name))


def _of_one_run(path: Path) -> Source | None:
    if path.is_dir() or "tfevents" in path.name:
        return Source(path, read_tensorboard, one_run=True)
    if path.name.endswith(".wandb"):
        return Source(path, read_wandb, one_run=True)
    return Source(path, read_mlperf, one_run=True) if _is_log(path) else None


def _is_log(path: Path) -> bool:
    """Whether a text file is an MLPerf log."""
    if path.suffix.lower() not in _LOGS:
        return False
    try:
        with path.open("rb") as file:
            return TOKEN.encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False
