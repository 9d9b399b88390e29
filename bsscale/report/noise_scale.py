"""The gradient noise scale of each arm, from the records of its runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bsscale.records.run_record import RunRecord
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.tables import Table, samples

__all__ = ["NOT_THE_CRITICAL_BATCH", "measured", "noise_scale_table"]

NOT_THE_CRITICAL_BATCH = (
    "The noise scale has the order of the critical batch, and is not the same number: it is of "
    "gradients along one run, and the critical batch is of the samples that runs need. "
    "task=scaling measures the critical batch."
)


def measured(arm: ArmSummary) -> list[RunRecord]:
    """The runs of an arm in which the noise scale was measured."""
    return [run.record for run in arm.runs if run.record.noise_scale_windows]


def noise_scale_table(comparison: Comparison) -> Table:
    """The noise scale in samples, the median over seeds; no rows if no run has measured it."""
    arms = [(arm, records) for arm in comparison.arms if (records := measured(arm))]
    groups = sorted({name for _, records in arms for r in records for name in _groups(r)})
    shown = groups if len(groups) > 1 else []
    rows = [
        [
            arm.short,
            _median([record.noise_scale for record in records]),
            _interval(records),
            *(_median([_groups(record).get(name) for record in records]) for name in shown),
            f"{records[0].global_batch:,}",
            _windows(records),
        ]
        for arm, records in arms
    ]
    header = ("arm", "noise scale", "95% interval", *shown, "global batch", "windows")
    return Table("Gradient noise scale in samples, the median over seeds", header, rows)


def _groups(record: RunRecord) -> dict[str, float | None]:
    return record.noise_scale_groups or {}


def _median(values: Sequence[float | None]) -> str:
    """The median over the runs that have a value, and how many have none."""
    known = [value for value in values if value is not None]
    if not known:
        return "not known"
    missing = len(values) - len(known)
    text = samples(statistics.median(known))
    return f"{text} (not known in {missing} of {len(values)})" if missing else text


def _interval(records: Sequence[RunRecord]) -> str:
    """The interval of the only run, or the range of the values over the seeds."""
    if len(records) > 1:
        known = [record.noise_scale for record in records if record.noise_scale is not None]
        return f"{samples(min(known))} - {samples(max(known))} over seeds" if known else "-"
    interval = records[0].noise_scale_interval
    if interval is None:
        return "-"
    low, high = interval
    return f"{samples(low)} or more" if high is None else f"{samples(low)} - {samples(high)}"


def _windows(records: Sequence[RunRecord]) -> str:
    """How many windows the values are of; with a note if one run has too few."""
    counts = sorted(record.noise_scale_windows or 0 for record in records)
    text = str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} - {counts[-1]}"
    notes = [record.noise_scale_note for record in records if record.noise_scale_note]
    return f"{text}: {notes[0]}" if notes else text
