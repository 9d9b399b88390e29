"""The arms as CSV, for a spreadsheet."""

from __future__ import annotations

import csv
import io
import math

from bsscale.report.comparison import Comparison

__all__ = ["arms_csv"]


def arms_csv(comparison: Comparison) -> str:
    """A row an arm, unrounded, for a spreadsheet; empty where there is no number."""
    file = io.StringIO()
    rows = []
    for arm in comparison.arms:
        row = {k: v for k, v in arm.as_dict().items() if k not in ("seeds", "ratio_to_baseline")}
        low, high = row.pop("median_interval") or (None, None)
        row |= {"median_low": low, "median_high": high}
        estimate = arm.ratio
        row |= {
            "ratio_to_baseline": None if estimate is None else estimate.ratio,
            "ratio_low": None if estimate is None else estimate.low,
            "ratio_high": None if estimate is None else estimate.high,
        }
        rows.append({key: _plain(value) for key, value in row.items()})
    writer = csv.DictWriter(file, list(rows[0]) if rows else ["arm"], lineterminator="\n")
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
