"""Reports made from records alone: read, summarize, tables, charts, page."""

from __future__ import annotations

from bsscale.report.read import LeftOut, matching
from bsscale.report.summarize import ArmSummary, Comparison, compare
from bsscale.report.tables import arms_table
from bsscale.report.write import Report, write_report

__all__ = [
    "ArmSummary",
    "Comparison",
    "LeftOut",
    "Report",
    "arms_table",
    "compare",
    "matching",
    "write_report",
]
