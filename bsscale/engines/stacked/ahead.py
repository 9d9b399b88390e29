"""Samples that a thread prepares while the device works on those before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

__all__ = ["Ahead", "Positions", "moved"]

# For each slot in use, the seed of its run and the number of its next update.
Positions = Mapping[int, tuple[int, int]]

Sent = TypeVar("Sent")


def moved(positions: Positions, updates: int) -> dict[int, tuple[int, int]]:
    """The positions after so many updates."""
    return {slot: (seed, step + updates) for slot, (seed, step) in positions.items()}


@dataclass
class _Chunk(Generic[Sent]):
    """The samples of some updates, which are used from the first to the last."""

    positions: Positions
    sent: Future[Sent]
    used: int = 0

    def continues_at(self, positions: Positions) -> bool:
        """Whether its next samples are those of `positions`; other slots may have any."""
        return all(
            slot in self.positions and self.positions[slot] == (seed, step - self.used)
            for slot, (seed, step) in positions.items()
        )


class Ahead(Generic[Sent]):
    """Prepares samples in a thread, always in chunks of the same number of updates.

    A chunk is prepared before it is asked for, as if every run went on. If another run begins in a
    slot, what was prepared is dropped. Samples depend on the run and on the position alone, so
    whether they were prepared in time changes no number.

    Parameters
    ----------
    prepare
        Reads the samples of a chunk and sends them to the device; called in the thread.
    receive
        Makes what was sent ready for use by the caller's thread. Tensors with the updates as their
        leading dimension.
    updates
        Of a chunk.
    """

    def __init__(
        self,
        prepare: Callable[[Positions], Sent],
        receive: Callable[[Sent], list[Tensor]],
        updates: int,
    ) -> None:
        self._prepare, self._receive, self._updates = prepare, receive, updates
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bsscale-feed")
        self._chunk: _Chunk[Sent] | None = None
        self._next: _Chunk[Sent] | None = None

    def take(self, positions: Positions, updates: int) -> list[Tensor]:
        """The samples of the next updates.

        An error of the thread is raised here, when its samples are asked for. If nobody needs them,
        because the run ends before, nobody hears of it.
        """
        parts = []
        while updates:
            chunk = self._chunk_at(positions)
            tensors = self._receive(chunk.sent.result())
            now = min(updates, self._updates - chunk.used)
            parts.append([each[chunk.used : chunk.used + now] for each in tensors])
            chunk.used += now
            positions, updates = moved(positions, now), updates - now
        if len(parts) == 1:
            return parts[0]
        return [torch.cat(pieces) for pieces in zip(*parts, strict=True)]

    def close(self) -> None:
        """End the thread, after the chunk that it is preparing."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._chunk = self._next = None

    def _chunk_at(self, positions: Positions) -> _Chunk[Sent]:
        """The chunk with the samples of `positions`; the next one is on its way then."""
        if self._chunk is not None and self._chunk.used == self._updates:
            self._chunk, self._next = self._next, None
        if self._chunk is None or not self._chunk.continues_at(positions):
            for chunk in (self._chunk, self._next):
                if chunk is not None:
                    chunk.sent.cancel()
            self._chunk, self._next = self._begin(positions), None
        if self._next is None:
            self._next = self._begin(moved(self._chunk.positions, self._updates))
        return self._chunk

    def _begin(self, positions: Positions) -> _Chunk[Sent]:
        positions = dict(positions)
        return _Chunk(positions, self._thread.submit(self._prepare, positions))
