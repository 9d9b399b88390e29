"""A data set as it is prepared: its description, and its arrays in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bsscale.data.dataset import ArrayStream, ColumnFacts, Dataset, Samples, Schema, data_key
from bsscale.files.blocks import Blocks

__all__ = ["SPLITS", "ColumnFiles", "Prepared"]

SPLITS = ("train", "validation", "test")

# Rows of a piece, whose columns fit in a cache.
_ROWS = 1 << 13


@dataclass(frozen=True)
class Prepared:
    """What is stored of a finite data set.

    Attributes
    ----------
    schema, notes, columns, best_possible
        Those of `Dataset`.
    arrays
        "train.categorical" and so on: the arrays of each split.
    """

    schema: Schema
    arrays: Mapping[str, Blocks]
    notes: tuple[str, ...] = ()
    columns: tuple[ColumnFacts, ...] = ()
    best_possible: float | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Prepared:
        """A data set whose arrays are in memory.

        Raises
        ------
        TypeError
            It has no end.
        """
        if not isinstance(dataset.train, ArrayStream):
            kind = type(dataset.train).__name__
            raise TypeError(f"only finite data sets are cached, not a {kind}")
        splits = (dataset.train.samples, dataset.validation, dataset.test)
        arrays = {
            f"{split}.{name}": Blocks.of(array)
            for split, samples in zip(SPLITS, splits, strict=True)
            for name, array in samples.arrays().items()
        }
        return cls(dataset.schema, arrays, dataset.notes, dataset.columns, dataset.best_possible)

    @cached_property
    def key(self) -> str:
        """`Dataset.key` of it."""
        return data_key(self.schema, {}, self.arrays)

    def dataset(self) -> Dataset:
        """The data set, with all its arrays in memory."""
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {split: {} for split in SPLITS}
        for name, blocks in self.arrays.items():
            split, part = name.split(".")
            parts[split][part] = blocks.array()
        train, validation, test = (Samples(**parts[split]) for split in SPLITS)
        return Dataset(
            self.schema,
            ArrayStream(train),
            validation,
            test,
            best_possible=self.best_possible,
            notes=self.notes,
            columns=self.columns,
        )


class ColumnFiles:
    """Columns of equal length, each in a file, which are read together as rows.

    Parameters
    ----------
    folder
        Where the files are written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}

    def add(self, name: str, values: npt.NDArray[Any]) -> None:
        """Write a column; all columns that are read together have one type."""
        path = self._folder / f"column-{len(self._files)}"
        values.tofile(path)
        self._files[name] = path

    def matrix(self, names: Sequence[str], dtype: type, start: int, stop: int) -> Blocks:
        """Rows start … stop − 1 of some columns, shape (stop − start, columns)."""
        paths = [self._files[name] for name in names]
        size = np.dtype(dtype).itemsize

        def pieces() -> Iterator[npt.NDArray[Any]]:
            with ExitStack() as stack:
                files = [stack.enter_context(path.open("rb", buffering=0)) for path in paths]
                for file in files:
                    file.seek(start * size)
                columns: npt.NDArray[Any] = np.empty((len(files), _ROWS), dtype)
                for at in range(start, stop, _ROWS):
                    rows = min(_ROWS, stop - at)
                    for file, column in zip(files, columns, strict=True):
                        file.readinto(column[:rows])
                    yield columns[:, :rows].T.copy()

        return Blocks(np.dtype(dtype), (stop - start, len(paths)), pieces)

    def vector(self, name: str, dtype: type, start: int, stop: int) -> Blocks:
        """Rows start … stop − 1 of one column, shape (stop − start,)."""
        rows = self.matrix([name], dtype, start, stop)
        return Blocks(rows.dtype, rows.shape[:1], lambda: (piece[:, 0] for piece in rows.pieces()))
