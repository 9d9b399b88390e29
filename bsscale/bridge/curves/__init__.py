"""Curves that exist already: CSV, Parquet, JSONL, MLPerf logs, TensorBoard, W&B's offline runs.

A format is a file with one function, which reads a source into `Rows`. The rest is the same for
all: `curve` makes trajectories of rows and refuses what is ambiguous, `record` judges them by the
target.
"""

from bsscale.bridge.curves.importing import import_curves
from bsscale.bridge.curves.options import wanted_of
from bsscale.bridge.curves.record import ImportedRun, Origin
from bsscale.bridge.curves.sources import curve_files
from bsscale.bridge.curves.wanted import Names, Wanted

__all__ = [
    "ImportedRun",
    "Names",
    "Origin",
    "Wanted",
    "curve_files",
    "import_curves",
    "wanted_of",
]
