"""The user's own table: CSV, TSV or Parquet, with columns named or inferred."""

from bsscale.data.table.loading import load

__all__ = ["load"]
