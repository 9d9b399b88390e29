"""MLPerf logs: lines of JSON after ``:::MLLOG``, as mlperf-logging writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from bsscale.bridge.curves.places import place_of
from bsscale.bridge.curves.rows import OneRun, Rows
from bsscale.bridge.curves.wanted import Wanted
from bsscale.errors import RecordsError

__all__ = ["TOKEN", "read_mlperf"]

TOKEN = ":::MLLOG "
# The largest count that is a float without rounding.
_MOST = 2**53
# What an evaluation counts, and the event with the samples that one unit of it stands for. (The
# names are mlperf_logging.mllog.constants.)
_COUNTERS = (
    ("samples_count", None),
    ("epoch_num", "train_samples"),
    ("step_num", "global_batch_size"),
)


def read_mlperf(path: Path, wanted: Wanted) -> Rows:
    """The evaluations of a log.

    An event with a number, such as eval_accuracy, is a column, and so is what its metadata counts.
    Without ``samples_count``, the samples are ``epoch_num`` times the event train_samples, or
    ``step_num`` times global_batch_size.

    Raises
    ------
    RecordsError
        If it cannot be read, or a line is cut off that is not the last.
    """
    events = _events(path)
    name = wanted.metric_name
    first = {str(event.get("key")): event.get("value") for event in reversed(events)}
    rows: list[dict[str, Any]] = []
    for event in events:
        if event.get("key") == name:
            metadata = event.get("metadata")
            counters = metadata if isinstance(metadata, Mapping) else {}
            rows.append({**counters, name: event.get("value"), **_samples(counters, first)})
    names = dict.fromkeys(key for row in rows for key in row) or {
        str(event.get("key")): None for event in events if _is_number(event.get("value"))
    }
    names.pop("file", None)
    names.pop("lineno", None)
    return Rows(
        path,
        "MLPerf log",
        {key: [row.get(key) for row in rows] for key in names},
        row_word="evaluation",
        run=_run(path, first, wanted),
        samples_remedy="the log has neither samples_count, nor epoch_num with train_samples, nor "
        "step_num with global_batch_size: ",
    )


def _events(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise RecordsError(f"cannot read {path}: {error}", "give a text file") from error
    events = []
    for number, line in enumerate(lines, start=1):
        _, token, text = line.partition(TOKEN)
        if not token:
            continue
        try:
            event = json.loads(text)
        except (ValueError, RecursionError) as error:
            if number == len(lines):  # (cut off while it was written)
                break
            raise RecordsError(
                f"line {number} of {path} is not JSON after {TOKEN.strip()}: {error}",
                "leave the line out if it is broken",
            ) from error
        if isinstance(event, dict):
            events.append(event)
    return events


def _samples(counters: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, Any]:
    """The training samples of an evaluation, if the log has them."""
    for name, unit in _COUNTERS:
        count, each = counters.get(name), 1 if unit is None else first.get(unit)
        if _is_number(count) and _is_number(each):
            return {"samples": round(count * each)}
    return {}


def _run(path: Path, first: Mapping[str, Any], wanted: Wanted) -> OneRun:
    arm, seed = place_of(path, wanted.layout)
    names = wanted.names
    if wanted.layout is None:
        arm = str(first.get(names.arm, arm))
        recorded = first.get(names.seed)
        seed = recorded if isinstance(recorded, int) else seed
    batch = first.get("global_batch_size")
    settings = {"global_batch": batch} if isinstance(batch, int) and batch > 0 else {}
    return OneRun(arm, seed, settings)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= _MOST  # (NaN is not)
    )
