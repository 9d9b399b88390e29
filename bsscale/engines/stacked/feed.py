"""The samples of many runs, each in its own order, on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bsscale.data import ArrayStream, Samples, TrainStream

__all__ = ["Batches", "Feed"]

_Number = TypeVar("_Number", np.int32, np.float32)


def _tensor(array: npt.NDArray[_Number]) -> Tensor:
    """A tensor over an array, which is copied if it is read-only: torch knows no such tensors."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


@dataclass(frozen=True)
class Batches:
    """Samples in tensors that share their leading dimensions.

    Attributes
    ----------
    categorical
        int32, shape (…, fields).
    numeric, label
        Of the training precision, shapes (…, numeric fields) and (…,).
    """

    categorical: Tensor
    numeric: Tensor
    label: Tensor

    @classmethod
    def of(cls, samples: Samples, device: torch.device, dtype: torch.dtype) -> Batches:
        """Samples on the device."""
        return cls(
            _tensor(samples.categorical).to(device),
            _tensor(samples.numeric).to(device, dtype),
            _tensor(samples.label).to(device, dtype),
        )

    def __getitem__(self, key: int | slice) -> Batches:
        return Batches(self.categorical[key], self.numeric[key], self.label[key])

    def copy_(self, other: Batches) -> None:
        """Take the values of `other`, of the same shapes."""
        self.categorical.copy_(other.categorical)
        self.numeric.copy_(other.numeric)
        self.label.copy_(other.label)


class Feed:
    """Cuts each slot's stream into batches.

    A finite training split lives on the device as a whole and is gathered there; any other stream
    is read on the host.

    Parameters
    ----------
    stream
        The training stream.
    width
        Slots.
    batch
        Samples of one run's update.
    device, dtype
        Where the samples are wanted, and the type of their numbers and labels.
    """

    def __init__(
        self,
        stream: TrainStream,
        width: int,
        batch: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._stream = stream
        self._width, self._batch = width, batch
        self._device, self._dtype = device, dtype
        self._resident = (
            Batches.of(stream.samples, device, dtype) if isinstance(stream, ArrayStream) else None
        )

    def read(self, positions: Mapping[int, tuple[int, int]], updates: int) -> Batches:
        """The batches of the next updates.

        Parameters
        ----------
        positions
            For each slot in use, its seed and the first update's number. Empty slots get the
            samples of a slot in use, because they must have some.
        updates
            How many updates.

        Returns
        -------
        Leading dimensions (updates, width, batch).
        """
        shape = (updates, self._width, self._batch)
        filler = next(iter(positions.values()))
        spans = [
            (seed, step * self._batch, (step + updates) * self._batch)
            for seed, step in (positions.get(slot, filler) for slot in range(self._width))
        ]
        if self._resident is None:
            return self._on_host(spans, updates)
        assert isinstance(self._stream, ArrayStream)
        rows = np.empty(shape, dtype=np.int64)
        for slot, span in enumerate(spans):
            rows[:, slot] = self._stream.rows(*span).reshape(updates, self._batch)
        index = torch.from_numpy(rows.reshape(-1)).to(self._device)
        resident = self._resident
        return Batches(
            resident.categorical.index_select(0, index).view(*shape, -1)
            if resident.categorical.shape[1]
            else resident.categorical.new_empty((*shape, 0)),
            resident.numeric.index_select(0, index).view(*shape, -1)
            if resident.numeric.shape[1]
            else resident.numeric.new_empty((*shape, 0)),
            resident.label.index_select(0, index).view(shape),
        )

    def _on_host(self, spans: list[tuple[int, int, int]], updates: int) -> Batches:
        parts = {span: self._stream.read(*span) for span in set(spans)}
        by_slot = [parts[span] for span in spans]

        def stack(arrays: list[npt.NDArray[_Number]]) -> npt.NDArray[_Number]:
            each = [array.reshape(updates, self._batch, *array.shape[1:]) for array in arrays]
            return np.stack(each, axis=1)

        return Batches.of(
            Samples(
                stack([samples.categorical for samples in by_slot]),
                stack([samples.numeric for samples in by_slot]),
                stack([samples.label for samples in by_slot]),
            ),
            self._device,
            self._dtype,
        )
