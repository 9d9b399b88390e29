"""Columns of text as distinct values and codes, made part by part of the rows, on disk.

A part of the rows is factored when it is read: its values are written with the codes of its rows.
When a column is needed, the values of its parts are merged. So no more than a part of the rows, or
the distinct values and the codes of one column, is in memory. Short texts are kept as integers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bsscale.data.table.column import Column
from bsscale.data.table.packed import distinct, unpack

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Factors"]

_Values: TypeAlias = "npt.NDArray[np.uint64] | pl.Series"


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
        # Of each part: whether its values are texts, not packed, and the type of its codes.
        self._types: list[tuple[bool, np.dtype[Any]]] = []
        self._rows, self._merged = 0, False

    def add(self, part: pl.Series) -> None:
        """The values of the next rows."""
        import polars as pl

        texts = part.cast(pl.String)
        if (packed := distinct(texts)) is not None:
            self._write(*packed)
        else:
            values = texts.drop_nulls().unique(maintain_order=True)
            self._write(values, _places(texts, values))
        self._merged = False

    def column(self) -> Column:
        """The column, merged from its parts: long texts once, packed ones each time."""
        parts = [self._values(number) for number in range(len(self._types))]
        values, places = _positions(parts, self._merged)
        codes, at = np.empty(self._rows, np.int32), 0
        for number, own in enumerate(places):
            rows = self._codes(number)
            codes[at : at + len(rows)] = np.append(np.int32(-1), own).take(rows)
            at += len(rows)
        texts = unpack(values) if isinstance(values, np.ndarray) else values
        if texts is values and not self._merged:
            self._replace(values, codes + 1)
        return Column(self._name, self._dtype, texts.alias(self._name), codes)

    def _replace(self, values: _Values, codes: npt.NDArray[np.int32]) -> None:
        """Write one part in the place of all parts."""
        for number in range(len(self._types)):
            self._file(number, "codes").unlink()
            self._file(number, "values").unlink()
        self._types, self._rows, self._merged = [], 0, True
        self._write(values, codes)

    def _write(self, values: _Values, codes: npt.NDArray[Any]) -> None:
        """Write a part: its distinct values, and for each row 1 + a position, or 0 (missing)."""
        import polars as pl

        self._folder.mkdir(exist_ok=True)
        number, narrow = len(self._types), np.min_scalar_type(len(values))
        path = self._file(number, "values")
        if isinstance(values, pl.Series):
            values.alias("value").to_frame().write_ipc(path)
        else:
            values.tofile(path)
        codes.astype(narrow, copy=False).tofile(self._file(number, "codes"))
        self._types.append((isinstance(values, pl.Series), narrow))
        self._rows += len(codes)

    def _file(self, number: int, what: str) -> Path:
        return self._folder / f"{number}.{what}"

    def _codes(self, number: int) -> npt.NDArray[Any]:
        return np.fromfile(self._file(number, "codes"), self._types[number][1])

    def _values(self, number: int) -> _Values:
        import polars as pl

        path, (are_texts, _) = self._file(number, "values"), self._types[number]
        return pl.read_ipc(path)["value"] if are_texts else np.fromfile(path, np.uint64)


def _positions(
    parts: list[_Values], are_merged: bool
) -> tuple[_Values, list[npt.NDArray[np.int32]]]:
    """The distinct values of all parts, sorted, and the positions of those of each part.

    `are_merged`: there is one part, with sorted values.
    """
    import polars as pl

    if are_merged:
        return parts[0], [np.arange(len(parts[0]), dtype=np.int32)]
    packed = [part for part in parts if isinstance(part, np.ndarray)]
    if len(packed) == len(parts):
        keys = _distinct(np.concatenate(packed))
        return keys, [np.searchsorted(keys, part).astype(np.int32) for part in packed]
    every = pl.concat([unpack(part) if isinstance(part, np.ndarray) else part for part in parts])
    values = every.unique().sort()
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return values, np.split(_places(every, values) - 1, ends)


def _distinct(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """As `numpy.unique`, which does not sort first and takes longer."""
    keys.sort()
    return keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys


def _places(texts: pl.Series, values: pl.Series) -> npt.NDArray[np.int32]:
    """1 + the position of each text in distinct `values`, int32; 0 is missing."""
    import polars as pl

    if values.is_empty():
        return np.zeros(len(texts), np.int32)
    # (the physical type of an Enum is the narrowest one)
    places = texts.cast(pl.Enum(values)).to_physical().cast(pl.Int32) + 1
    return places.fill_null(0).to_numpy()
