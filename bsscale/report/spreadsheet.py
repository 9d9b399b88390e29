"""Arms and runs as CSV, for a spreadsheet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence

from bsscale.report.comparison import Comparison

__all__ = ["arms_csv", "samples_csv"]


# What is no number or text; its ends have columns of their own.
_NESTED = (
    "seeds",
    "median_interval",
    "ratio_to_baseline",
    "ratio_together",
    "divergence",
    "easier_targets",
)


def arms_csv(comparison: Comparison) -> str:
    """A row an arm, unrounded, for a spreadsheet; empty where there is no number."""
    rows = []
    for arm in comparison.arms:
        row = {k: v for k, v in arm.as_dict().items() if k not in _NESTED}
        row["median_low"], row["median_high"] = arm.as_dict()["median_interval"] or (None, None)
        row["ratio_to_baseline"] = None if arm.ratio is None else arm.ratio.ratio
        for name, interval in (
            ("ratio", arm.ratio),
            ("together", arm.together),
            ("divergence", arm.divergence),
        ):
            for end in ("low", "high"):
                row[f"{name}_{end}"] = None if interval is None else getattr(interval, end)
        rows.append({key: _plain(value) for key, value in row.items()})
    return _table(list(rows[0]) if rows else ["arm"], rows)


def samples_csv(comparison: Comparison) -> str:
    """A row a run that trained: its samples to the target, empty where it missed it.

    The columns are named as in a file of ``task.points``. `batch` and `budget` are empty where a
    curve does not say them.
    """
    rows = []
    for arm in comparison.arms:
        records = {run.record.seed: run.record for run in arm.runs}
        for result in arm.seeds:
            record = records[result.seed]
            row = {
                "arm": arm.short or arm.arm,
                "batch": record.global_batch or None,
                "seed": result.seed,
                "status": result.status,
                "samples": result.samples,
                "budget": record.budget_samples or None,
            }
            rows.append({key: _plain(value) for key, value in row.items()})
    return _table(["arm", "batch", "seed", "status", "samples", "budget"], rows)


def _table(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    # A spreadsheet takes a text that begins like this for a formula.
    if isinstance(value, str) and value[:1] in "=+-@\t\r" and value:
        return "'" + value
    return "" if value is None else value
