"""What the finished runs of a study have cost."""

from __future__ import annotations

import statistics
from pathlib import Path

from bsscale.errors import RecordsError
from bsscale.records.run_record import read_run

__all__ = ["measured_speed", "spent_samples"]


def spent_samples(directory: Path) -> int:
    """Samples that the runs below a study's directory have trained on; adopted ones cost none."""
    samples = 0
    for path in directory.rglob("run.json"):
        try:
            record = read_run(path.parent)
        except RecordsError:  # (named where the run itself is read)
            continue
        samples += record.samples_seen if record.adopted is None else 0
    return samples


def measured_speed(directory: Path) -> float | None:
    """The median speed of the finished runs below a study's directory, in samples a second."""
    speeds = []
    for path in directory.rglob("run.json"):
        try:
            record = read_run(path.parent)
        except RecordsError:
            continue
        if record.samples_per_s is not None and record.adopted is None:
            speeds.append(record.samples_per_s)
    return statistics.median(speeds) if speeds else None
