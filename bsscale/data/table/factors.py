"""Columns of text as distinct values and codes, made part by part of the rows, on disk.

A part of the rows is factored when it is read: its values are written with the codes of its rows.
When a column is needed, the values of its parts are merged. So no more than a part of the rows, or
the distinct values and the codes of one column, is in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bsscale.data.table.column import Column

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Factors"]


class Factors:
    """One column of text.

    Parameters
    ----------
    folder
        Where its parts are written; it need not exist.
    dtype
        The type of the column in the source.
    """

    def __init__(self, folder: Path, name: str, dtype: pl.DataType) -> None:
        self._folder, self._name, self._dtype = folder, name, dtype
        self._rows: list[int] = []
        self._merged = False

    def add(self, part: pl.Series) -> None:
        """The values of the next rows."""
        import polars as pl

        texts = part.cast(pl.String)
        values = texts.drop_nulls().unique(maintain_order=True)
        self._folder.mkdir(exist_ok=True)
        number = len(self._rows)
        values.alias("value").to_frame().write_ipc(self._values(number))
        _codes(texts, values).tofile(self._codes(number))
        self._rows.append(len(part))
        self._merged = False

    def column(self) -> Column:
        """The column; the parts are merged when it is asked for first."""
        if not self._merged:
            self._merge()
        codes = np.fromfile(self._codes(0), np.int32)
        return Column(self._name, self._dtype, self._read_values(0).alias(self._name), codes)

    def _merge(self) -> None:
        """Make one part of all parts, with sorted values."""
        import polars as pl

        parts = [self._read_values(number) for number in range(len(self._rows))]
        every = pl.concat(parts)
        values = every.unique().sort()
        places = _codes(every, values)
        codes, first = np.empty(sum(self._rows), np.int32), 0
        at = 0
        for number, part in enumerate(parts):
            own = np.fromfile(self._codes(number), np.int32)
            of_part = np.append(places[first : first + len(part)], np.int32(-1))
            codes[at : at + len(own)] = of_part.take(own)  # (-1 is the last element)
            first, at = first + len(part), at + len(own)
            self._codes(number).unlink()
            self._values(number).unlink()
        self._rows, self._merged = [len(codes)], True
        values.to_frame("value").write_ipc(self._values(0))
        codes.tofile(self._codes(0))

    def _values(self, number: int) -> Path:
        return self._folder / f"{number}.values"

    def _codes(self, number: int) -> Path:
        return self._folder / f"{number}.codes"

    def _read_values(self, number: int) -> pl.Series:
        import polars as pl

        return pl.read_ipc(self._values(number))["value"]


def _codes(texts: pl.Series, values: pl.Series) -> npt.NDArray[np.int32]:
    """The position of each text in distinct `values`, int32; −1 is missing."""
    import polars as pl

    if values.is_empty():
        return np.full(len(texts), -1, np.int32)
    # (the physical type of an Enum is the narrowest one)
    places = texts.cast(pl.Enum(values)).to_physical().cast(pl.Int32)
    return places.fill_null(-1).to_numpy()
