"""The content of a table, of which one column at a time is in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bsscale.data.table.column import Column

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Content"]


@dataclass(frozen=True)
class Content:
    """The columns of a table as they are in its source.

    Attributes
    ----------
    dtypes
        The columns in order, with their types; those of a text file are text.
    file_rows
        How many rows each file has.
    column
        Gives a column by its name.
    notes
        Sentences on the reading.
    """

    dtypes: Mapping[str, pl.DataType]
    file_rows: tuple[int, ...]
    column: Callable[[str], Column]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(self.file_rows)
