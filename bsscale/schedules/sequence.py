"""Schedules one after the other."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from bsscale.errors import ConfigError
from bsscale.schedules.base import Schedule
from bsscale.schedules.fields import Integer
from bsscale.schedules.joined import Joined, Piece

__all__ = ["Sequence"]


@dataclass(frozen=True)
class Sequence(Joined):
    r"""Any schedules joined end to end, each of which sees its own steps from 0.

    With :math:`T_i` the sum of the lengths before part i,

    .. math:: \eta_t = \eta^{(i)}_{t - T_i} \qquad T_i \le t < T_{i+1}

    and the same for the momentum. The last part has no end.

    >>> from bsscale.schedules import Linear
    >>> triangle = Sequence((Linear(0.1, 0.5, 4), Linear(0.5, 0.1, 4)), (4,))
    >>> [round(triangle.lr(t), 3) for t in range(10)]
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1]

    Parameters
    ----------
    schedules
        The parts, at least two.
    lengths
        Steps of every part but the last, >= 1.

    Raises
    ------
    ConfigError
        If a part is not a schedule, a length is missing, too many or below 1, or if some parts set
        a momentum and others do not: it would stay wherever the part before has left it.
    """

    schedules: tuple[Schedule, ...]
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        # Tuples, so that the value can be hashed and not be changed.
        object.__setattr__(self, "schedules", tuple(self.schedules))
        object.__setattr__(self, "lengths", tuple(self.lengths))
        for index, part in enumerate(self.schedules):
            if not isinstance(part, Schedule):
                raise ConfigError(
                    f"part {index} of the sequence is {part!r}, not a schedule",
                    "give schedules, such as Linear(0.1, 0.8, 100)",
                )
        if len(self.schedules) < 2:
            raise ConfigError(
                f"the sequence has {len(self.schedules)} part(s)", "give at least two schedules"
            )
        if len(self.lengths) != len(self.schedules) - 1:
            raise ConfigError(
                f"the sequence has {len(self.schedules)} parts and {len(self.lengths)} lengths",
                "give a length for every part but the last, which has no end",
            )
        length = Integer(1, "give each part at least 1 step")
        lengths = [length(f"the length of part {i}", each) for i, each in enumerate(self.lengths)]
        object.__setattr__(self, "lengths", tuple(lengths))
        sets = [part.momentum_at(0) is not None for part in self.schedules]
        if any(sets) and not all(sets):
            names = [type(part).__name__ for part in self.schedules]
            raise ConfigError(
                f"part {sets.index(True)} of the sequence ({names[sets.index(True)]}) sets the "
                f"momentum, but part {sets.index(False)} ({names[sets.index(False)]}) does not",
                "let all of them or none: with cycle_momentum=false, a cycle does not set it",
            )

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The parts."""
        lengths = (*self.lengths, self.schedules[-1].length)
        return tuple(
            Piece(type(part).__name__, part, length)
            for part, length in zip(self.schedules, lengths, strict=True)
        )

    def phases(self) -> tuple[tuple[str, int], ...]:
        """The phases of every part that begin before the next part does."""
        phases: list[tuple[str, int]] = []
        for piece, first, steps in self._parts_with_steps():
            own = piece.schedule.phases() or ((piece.name, 0),)
            phases += [(name, first + step) for name, step in own if step < steps]
        return tuple(phases)

    def notes(self) -> tuple[str, ...]:
        """Those of the parts, and parts that are cut before they are complete."""
        notes: list[str] = []
        for index, piece in enumerate(self.pieces):
            name, length = f"part {index} ({piece.name})", piece.schedule.length
            notes += [f"{name}: {note}" for note in piece.schedule.notes()]
            if length > piece.steps:
                notes.append(f"{name} takes {length} steps, but is cut after {piece.steps}")
        return tuple(notes)

    def check(self, steps: int) -> None:
        """Check every part for as many updates as it gets."""
        for piece, first, lasts in self._parts_with_steps():
            if first < steps:
                piece.schedule.check(int(min(lasts, steps - first)))

    def _parts_with_steps(self) -> Iterator[tuple[Piece, int, float]]:
        """Each part with its first step and how many it lasts; the last has no end."""
        first = 0
        for piece, steps in zip(self.pieces, (*self.lengths, math.inf), strict=True):
            yield piece, first, steps
            first += piece.steps
