"""Shapes made from other shapes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from bsscale.schedules.base import Schedule

__all__ = ["Joined", "Piece", "Reversed"]


class Piece(NamedTuple):
    """A phase of a shape: its name, its schedule, its number of steps, and its first step.

    The first step is a step of the piece's own schedule. A piece of 0 steps is left out, unless it
    is the last piece, which has no end.
    """

    name: str
    schedule: Schedule
    steps: int
    first: int = 0


class Joined(Schedule):
    """A shape made of pieces, one after the other, each of which sees its own steps.

    Subclasses define `pieces`, preferably as a `functools.cached_property`.
    """

    @property
    @abstractmethod
    def pieces(self) -> tuple[Piece, ...]:
        """The pieces in order, at least one."""

    @property
    def length(self) -> int:
        return sum(piece.steps for piece in self.pieces)

    @property
    def peak(self) -> float | None:
        peaks = [piece.schedule.peak for piece in self.pieces]
        known = [peak for peak in peaks if peak is not None]
        return max(known) if len(known) == len(peaks) else None

    def phases(self) -> tuple[tuple[str, int], ...]:
        """The pieces that have a step, and the constant rate after them."""
        phases, first = [], 0
        for piece in self.pieces:
            if piece.steps:
                phases.append((piece.name, first))
            first += piece.steps
        return (*phases, ("hold", first))

    def lr_at(self, step: int) -> float:
        schedule, own = self._at(step)
        return schedule.lr_at(own)

    def momentum_at(self, step: int) -> float | None:
        schedule, own = self._at(step)
        return schedule.momentum_at(own)

    def _at(self, step: int) -> tuple[Schedule, int]:
        """The schedule that update `step` belongs to, and its own number there."""
        for _, schedule, steps, first in self.pieces[:-1]:
            if step < steps:
                return schedule, first + step
            step -= steps
        return self.pieces[-1].schedule, self.pieces[-1].first + step


@dataclass(frozen=True)
class Reversed(Schedule):
    """A shape backwards: from its end, where its `length` is, to its beginning, which it holds.

    A falling line is a reversed rising line, so both have exactly the same values at equal heights.
    """

    schedule: Schedule

    @property
    def peak(self) -> float | None:
        return self.schedule.peak

    def lr_at(self, step: int) -> float:
        return self.schedule.lr_at(max(self.schedule.length - step, 0))

    def momentum_at(self, step: int) -> float | None:
        return self.schedule.momentum_at(max(self.schedule.length - step, 0))
