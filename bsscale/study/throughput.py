"""The throughput of real jobs, as it is given or as records of such jobs have it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bsscale.errors import ConfigError, RecordsError
from bsscale.records.run_record import read_run

__all__ = ["read_throughput"]

_REMEDY = (
    "give numbers, 'task.samples_per_s={1:50000,8:310000}', or a directory of runs that were "
    "trained by executor=ddp"
)


def read_throughput(given: Any) -> dict[int, float] | None:
    """Samples in a second, by the number of GPUs; None where none is given.

    Parameters
    ----------
    given
        ``task.samples_per_s``: a mapping, or a directory with records of runs. Only runs of real
        processes count there: the time of virtual replicas says nothing about GPUs.

    Raises
    ------
    ConfigError
        For anything else, or a directory without such runs.
    """
    if given is None:
        return None
    if isinstance(given, str):
        return _recorded(given)
    option = f"task.samples_per_s={given}"
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(f"{option} is no throughput", _REMEDY)
    found: dict[int, float] = {}
    for gpus, value in given.items():
        whole = isinstance(gpus, int) or (isinstance(gpus, str) and gpus.isdigit())
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not whole or int(gpus) < 1 or not number or not 0 < value < math.inf:
            raise ConfigError(
                f"{option} has {gpus}: {value}, which is no number of GPUs with its throughput",
                _REMEDY,
            )
        found[int(gpus)] = float(value)
    return found


def _recorded(directory: str) -> dict[int, float]:
    runs: dict[int, list[float]] = {}
    virtual = 0
    for path in sorted(Path(directory).expanduser().rglob("run.json")):
        try:
            record = read_run(path.parent)
        except RecordsError:
            continue
        if record.executor != "ddp" and record.gpus > 1:
            virtual += 1
        elif record.samples_per_s is not None and record.samples_per_s > 0:
            runs.setdefault(record.gpus, []).append(record.samples_per_s)
    if not any(gpus > 1 for gpus in runs):
        fact = f"task.samples_per_s={directory} holds no runs of several real processes"
        more = f" ({virtual} runs there have virtual replicas)" if virtual else ""
        raise ConfigError(fact + more, _REMEDY)
    return {gpus: statistics.median(values) for gpus, values in sorted(runs.items())}
