"""Data sets: arrays with a schema, and a stream of training samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from bsscale.data.evaluated import evaluated_rows
from bsscale.data.order import ORDERS, Order
from bsscale.data.samples import Samples
from bsscale.data.verified import verify
from bsscale.errors import DataError
from bsscale.files.blocks import Blocks
from bsscale.files.checked import describe_array

__all__ = ["ArrayStream", "ColumnFacts", "Dataset", "Samples", "Schema", "TrainStream", "data_key"]


@dataclass(frozen=True)
class Schema:
    """The columns of a data set.

    Attributes
    ----------
    categorical
        Names of the categorical fields, in column order.
    cardinalities
        Number of ids of each categorical field; ids are 0 … cardinality − 1 and 0 means unknown.
    numeric
        Names of the standardized numeric fields, in column order.
    """

    categorical: tuple[str, ...]
    cardinalities: tuple[int, ...]
    numeric: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.categorical) != len(self.cardinalities):
            raise DataError(
                f"{len(self.categorical)} categorical fields have {len(self.cardinalities)} "
                "cardinalities",
                "give one cardinality for each categorical field",
            )
        if not self.categorical and not self.numeric:
            raise DataError(
                "the data set has no feature column",
                "name at least one categorical or numeric column",
            )


@dataclass(frozen=True)
class ColumnFacts:
    """Facts about a column of the source, for descriptions; not part of the data's identity.

    Attributes
    ----------
    name
        As in the source.
    role
        categorical, numeric, label, time, group, weight or unused.
    type
        Of its values in the source, such as text, integer, float or a type of Parquet.
    cardinality
        Number of ids of a categorical field, the unknown one included; None for others.
    missing_share
        Share of the rows without a value.
    note
        What a reader should look at, such as "row number"; empty for most.
    """

    name: str
    role: str
    type: str
    cardinality: int | None = None
    missing_share: float = 0.0
    note: str = ""


class TrainStream(Protocol):
    """An endless stream of training samples, the same for every batch size and device count.

    If several threads may call `read` at the same time, set ``thread_safe = True`` in the class.
    Then a GPU does not wait for samples: threads read those of the next updates in advance.
    """

    @property
    def samples_per_pass(self) -> int:
        """Samples in one pass over the training split."""
        ...

    def read(self, seed: int, start: int, stop: int) -> Samples:
        """The samples at stream positions start … stop − 1 in the order that `seed` gives."""
        ...


@dataclass(frozen=True)
class ArrayStream:
    """A finite training split as an endless stream of seeded orders, no row dropped.

    Attributes
    ----------
    samples
        The split.
    order
        A name in `ORDERS`: "permutation", or "blocks" for arrays that do not fit in memory.
    """

    thread_safe: ClassVar[bool] = True

    samples: Samples
    order: str = "permutation"
    _orders: dict[int, Order] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        # (another process has runs of its own)
        return {"samples": self.samples, "order": self.order, "_orders": {}}

    @property
    def samples_per_pass(self) -> int:
        return len(self.samples)

    def read(self, seed: int, start: int, stop: int) -> Samples:
        return self.samples[self._rows(seed, start, stop)]

    def rows(self, seed: int, start: int, stop: int) -> npt.NDArray[np.intp]:
        """The rows of `samples` at the stream positions start … stop − 1, shape (stop − start,).

        They are checked, if they come from the cache (`Samples.verify`).
        """
        rows = self._rows(seed, start, stop)
        self.samples.verify(rows)
        return rows

    def _rows(self, seed: int, start: int, stop: int) -> npt.NDArray[np.intp]:
        order = self._orders.setdefault(seed, ORDERS[self.order](len(self.samples), seed))
        return order.indices(start, stop)


def data_key(schema: Schema, arguments: Mapping[str, Any], arrays: Mapping[str, Blocks]) -> str:
    """`Dataset.key`: SHA-256 of the schema, the arguments of a stream, and all arrays in order."""
    text = json.dumps([vars(schema), arguments], sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode())
    for name, blocks in arrays.items():
        digest.update(describe_array(name, blocks))
        for part in blocks.bytes():
            digest.update(part)
    return digest.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """A data set, ready to train on.

    Attributes
    ----------
    schema
        Its columns.
    train
        The endless stream of training samples.
    validation, test
        The held-out splits.
    best_possible
        The metric on the validation split of the process that made the labels, where it is known.
    notes
        What a reader should know, one sentence each ("9,430 of 336,776 flights have no …").
    columns
        The columns of the source, where the loader describes them.
    arguments
        What a stream was made with: part of its identity, since its samples have no end.
    prepared_key
        The `key` of arrays whose key was stored when they were prepared.
    validation_rows
        The most validation samples that are evaluated during training; None: all of them.
    """

    schema: Schema
    train: TrainStream
    validation: Samples
    test: Samples
    best_possible: float | None = None
    notes: tuple[str, ...] = ()
    columns: tuple[ColumnFacts, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    prepared_key: str | None = None
    validation_rows: int | None = None

    @cached_property
    def evaluated(self) -> Samples:
        """The validation samples that are evaluated during training.

        All of them, or so many of `validation_rows` that do not depend on anything but their number
        and the labels (`evaluated_rows`).
        """
        if not self.evaluates_some:
            return self.validation
        assert self.validation_rows is not None
        verify(self.validation.label)
        return self.validation[evaluated_rows(self.validation.label, self.validation_rows)]

    @property
    def evaluates_some(self) -> bool:
        """Whether not all validation samples are evaluated during training."""
        return self.validation_rows is not None and self.validation_rows < len(self.validation)

    @property
    def is_weighted(self) -> bool:
        """Whether samples have weights."""
        return self.validation.weight is not None

    @property
    def samples_per_pass(self) -> int | None:
        """Samples in one pass over the training split; None where only a script knows it."""
        return self.train.samples_per_pass

    @cached_property
    def key(self) -> str | None:
        """Identity of the data: SHA-256 of the schema and all arrays, 64 hexadecimal digits.

        Of a stream, whose training samples have no end: of the schema, the arguments that it was
        made with and the held-out arrays. Where some validation samples are evaluated during
        training, or the order of training samples is another one than permutations, of that key and
        of these choices.
        """
        text = self._key_of_all
        if self.evaluates_some:
            text += f" validation_rows={self.validation_rows}"
        if isinstance(self.train, ArrayStream) and self.train.order != "permutation":
            text += f" order={self.train.order}"
        if text == self._key_of_all:
            return text
        return hashlib.sha256(text.encode()).hexdigest()

    def verify(self) -> None:
        """Check all samples that come from the cache (`Samples.verify`)."""
        if isinstance(self.train, ArrayStream):
            self.train.samples.verify()
        self.validation.verify()
        self.test.verify()

    def __getstate__(self) -> dict[str, Any]:
        # (what is made of the arrays again takes no room in the memory that processes share)
        return {key: value for key, value in vars(self).items() if key != "evaluated"}

    @cached_property
    def _key_of_all(self) -> str:
        if self.prepared_key is not None:
            return self.prepared_key
        splits = {"validation": self.validation, "test": self.test}
        arguments: Mapping[str, Any] = self.arguments
        if isinstance(self.train, ArrayStream):
            splits = {"train": self.train.samples, **splits}
            arguments = {}
        arrays = {
            f"{name}.{part}": Blocks.of(array)
            for name, samples in splits.items()
            for part, array in samples.arrays().items()
        }
        return data_key(self.schema, arguments, arrays)

    @classmethod
    def from_arrays(
        cls,
        schema: Schema,
        train: Samples,
        validation: Samples,
        test: Samples,
        notes: Sequence[str] = (),
    ) -> Dataset:
        """A data set of three finite splits."""
        return cls(schema, ArrayStream(train), validation, test, notes=tuple(notes))
