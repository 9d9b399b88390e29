"""The columns of the data that the arms were trained on."""

from __future__ import annotations

from bsscale.records.run_record import Column
from bsscale.report.comparison import Comparison
from bsscale.report.tables import Table

__all__ = ["columns_table"]

# From this number of columns on, only those with a note are listed, and how many the others are.
_MANY = 60
_OF_WEIGHTS = "in the loss, log loss and normalized entropy; AUC and accuracy do not use it"


def columns_table(comparison: Comparison) -> Table:
    """The columns, as the first run that recorded any has them; without rows if none did."""
    records = [run.record for arm in comparison.arms for run in arm.runs]
    columns = next((record.columns for record in records if record.columns), ())
    shown = [each for each in columns if len(columns) < _MANY or each.note]
    rows = [_row(each) for each in shown]
    if left := len(columns) - len(shown):
        rows.append([f"{left:,} more", "", "", "", ""])
    return Table("Columns of the data", ("column", "role", "ids", "missing", "note"), rows)


def _row(column: Column) -> list[str]:
    note = column.note or (_OF_WEIGHTS if column.role == "weight" else "")
    return [
        column.name,
        column.role,
        "" if column.cardinality is None else f"{column.cardinality:,}",
        f"{100 * column.missing_share:.2g}%" if column.missing_share else "",
        note,
    ]
