"""The samples of many runs, each in its own order, on the device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bsscale.data import ArrayStream, Samples, Schema, TrainStream
from bsscale.data.checks import check_ids
from bsscale.engines.stacked.ahead import Ahead, Positions

__all__ = ["Batches", "Feed", "send"]

_Number = TypeVar("_Number", np.int32, np.float32)
# A run's seed, and the positions in its stream from the first to the one after the last.
_Span: TypeAlias = tuple[int, int, int]


def _tensor(array: npt.NDArray[_Number]) -> Tensor:
    """A tensor over an array, which is copied if it is read-only: torch knows no such tensors."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device; to CUDA from pinned memory, so that nothing waits for the copy."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True)
class Batches:
    """Samples in tensors that share their leading dimensions.

    Attributes
    ----------
    categorical
        int32, shape (…, fields).
    numeric, label
        Of the training precision, shapes (…, numeric fields) and (…,).
    weight
        As the label; None where samples have no weights.
    """

    categorical: Tensor
    numeric: Tensor
    label: Tensor
    weight: Tensor | None = None

    @classmethod
    def of(cls, samples: Samples, device: torch.device, dtype: torch.dtype) -> Batches:
        """Samples on the device."""
        return cls(
            _tensor(samples.categorical).to(device),
            *(
                _tensor(each).to(device, dtype)
                for each in (samples.numeric, samples.label, samples.weight)
                if each is not None
            ),
        )

    @property
    def targets(self) -> list[Tensor]:
        """The labels, and the weights if there are any."""
        return [self.label] if self.weight is None else [self.label, self.weight]

    def parts(self, count: int) -> Batches:
        """The same samples in so many parts of one size, leading dimensions (count, n / count)."""
        return self._each(lambda each: each.view(count, len(each) // count, *each.shape[1:]))

    def converted(self, dtype: torch.dtype) -> Batches:
        """The samples with numbers, labels and weights of another type."""
        numbers = (each.to(dtype) for each in (self.numeric, *self.targets))
        return Batches(self.categorical, *numbers)

    def __getitem__(self, key: int | slice) -> Batches:
        return self._each(lambda each: each[key])

    def _each(self, function: Callable[[Tensor], Tensor]) -> Batches:
        return Batches(*map(function, (self.categorical, self.numeric, *self.targets)))


class Feed:
    """Cuts each slot's stream into batches.

    A finite training split lives on the device as a whole and is gathered there; any other stream
    is read on the host.

    Parameters
    ----------
    stream
        The training stream.
    schema
        Its columns.
    width
        Slots.
    batch
        Samples of one run's update.
    device, dtype
        Where the samples are wanted, and the type of their numbers and labels.
    ahead
        Updates whose samples a thread prepares in advance; 0: none. A stream that is not
        thread-safe is read when its samples are needed.
    """

    def __init__(
        self,
        stream: TrainStream,
        schema: Schema,
        width: int,
        batch: int,
        device: torch.device,
        dtype: torch.dtype,
        ahead: int = 0,
    ) -> None:
        self._stream, self._schema = stream, schema
        self._width, self._batch = width, batch
        self._device, self._dtype = device, dtype
        if isinstance(stream, ArrayStream) and device.type != "cpu":
            stream.samples.verify()  # (all of it is copied)
        # On a CPU its tensors are the arrays themselves, in memory that other processes share.
        self._resident = (
            Batches.of(stream.samples, device, torch.float32)
            if isinstance(stream, ArrayStream)
            else None
        )
        self._copying = (
            torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            if device.type == "cuda"
            else None
        )
        self._ahead: Ahead[_Sent] | None = None
        self._readers: ThreadPoolExecutor | None = None
        if ahead and getattr(stream, "thread_safe", False):
            self._ahead = Ahead(lambda positions: self._prepare(positions, ahead), _receive, ahead)
            if self._resident is None and width > 1:
                cores = len(os.sched_getaffinity(0))
                self._readers = ThreadPoolExecutor(min(width, cores), "bsscale-read")

    def inputs(self, positions: Positions, updates: int) -> list[Tensor]:
        """What `batches` needs for the next updates, on the device.

        Parameters
        ----------
        positions
            For each slot in use, its seed and the first update's number. Empty slots get the
            samples of a slot in use, because they must have some.
        updates
            How many updates.

        Returns
        -------
        Tensors with leading dimensions (updates, width, batch).
        """
        if self._ahead is not None:
            return self._ahead.take(positions, updates)
        return self.read_inputs(positions, updates)

    def batches(self, inputs: Sequence[Tensor]) -> Batches:
        """The batches of some updates, leading dimensions (updates, width, batch)."""
        if self._resident is None:
            return Batches(*inputs)
        [rows] = inputs
        index, resident = rows.view(-1), self._resident
        return Batches(
            resident.categorical.index_select(0, index).view(*rows.shape, -1)
            if resident.categorical.shape[1]
            else resident.categorical.new_empty((*rows.shape, 0)),
            resident.numeric.index_select(0, index).view(*rows.shape, -1)
            if resident.numeric.shape[1]
            else resident.numeric.new_empty((*rows.shape, 0)),
            *(each.index_select(0, index).view(rows.shape) for each in resident.targets),
        ).converted(self._dtype)

    def read_inputs(self, positions: Positions, updates: int) -> list[Tensor]:
        """As `inputs`, without anything that was prepared in advance."""
        return _receive(self._prepare(positions, updates))

    def read(self, positions: Positions, updates: int) -> Batches:
        """The batches of some updates, without anything that was prepared in advance."""
        return self.batches(self.read_inputs(positions, updates))

    def close(self) -> None:
        """End the threads."""
        for each in (self._ahead, self._readers):
            if each is not None:
                each.close() if isinstance(each, Ahead) else each.shutdown()

    def _prepare(self, positions: Positions, updates: int) -> _Sent:
        """Read the samples of some updates, and send them on their way to the device."""
        filler = next(iter(positions.values()))
        spans = [
            (seed, step * self._batch, (step + updates) * self._batch)
            for seed, step in (positions.get(slot, filler) for slot in range(self._width))
        ]
        if self._resident is None:
            return self._send(*self._samples(spans, updates))
        assert isinstance(self._stream, ArrayStream)
        rows = np.empty((updates, self._width, self._batch), dtype=np.int64)
        for slot, span in enumerate(spans):
            rows[:, slot] = self._stream.rows(*span).reshape(updates, self._batch)
        return self._send(torch.from_numpy(rows))

    def _samples(self, spans: Sequence[_Span], updates: int) -> list[Tensor]:
        """The samples of each slot's span, leading dimensions (updates, width, batch)."""
        different = list(set(spans))
        read: Callable[..., Iterable[Samples]] = self._readers.map if self._readers else map
        parts = dict(zip(different, read(self._read, different), strict=True))
        by_slot = [parts[span] for span in spans]

        def stack(arrays: list[npt.NDArray[_Number]]) -> Tensor:
            each = [array.reshape(updates, self._batch, *array.shape[1:]) for array in arrays]
            return torch.from_numpy(np.stack(each, axis=1))

        weights = [samples.weight for samples in by_slot if samples.weight is not None]
        return [
            stack([samples.categorical for samples in by_slot]),
            stack([samples.numeric for samples in by_slot]),
            stack([samples.label for samples in by_slot]),
            *([stack(weights)] if weights else []),
        ]

    def _read(self, span: _Span) -> Samples:
        samples = self._stream.read(*span)
        check_ids("train", samples, self._schema)
        return samples

    def _send(self, ids: Tensor, *numbers: Tensor) -> _Sent:
        if self._copying is None:
            return _Sent([ids, *(each.to(self._dtype) for each in numbers)])
        with torch.cuda.stream(self._copying):
            first, *others = (send(each, self._device) for each in (ids, *numbers))
            sent = [first, *(each.to(self._dtype) for each in others)]
            return _Sent(sent, self._copying.record_event())


@dataclass(frozen=True)
class _Sent:
    """Tensors on their way to the device, and what happens when they are there."""

    tensors: list[Tensor]
    arrival: torch.cuda.Event | None = None


def _receive(sent: _Sent) -> list[Tensor]:
    """The tensors, for the work that this thread gives to the device from now on."""
    if sent.arrival is not None:
        current = torch.cuda.current_stream()
        current.wait_event(sent.arrival)
        for each in sent.tensors:
            each.record_stream(current)  # their memory belongs to the stream of the copies
    return sent.tensors
