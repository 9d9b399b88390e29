"""CSV, TSV and Parquet files of curves, in long form: a row for each evaluation."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bsscale.bridge.curves.rows import Rows
from bsscale.data.table.open_source import Reading, open_source
from bsscale.errors import DataError, RecordsError

__all__ = ["read_table"]


def read_table(path: Path) -> Rows:
    """The columns of a table.

    Raises
    ------
    RecordsError
        If it cannot be read without guessing.
    """
    try:
        source = open_source(str(path), Reading())
        with tempfile.TemporaryDirectory(prefix="bsscale-") as scratch:
            content = source.read(Path(scratch))
            columns = {name: content.column(name).to_list() for name in content.dtypes}
    except DataError as error:
        raise RecordsError(error.fact, error.remedy) from error
    kind = {"\t": "TSV", ",": "CSV"}.get(source.separator or "", "Parquet")
    # (The header is row 1 of a text file.)
    return Rows(path, kind, columns, numbered_from=2 if source.is_text else 1)
