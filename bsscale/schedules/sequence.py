"""Schedules one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bsscale.errors import ConfigError
from bsscale.schedules import checks
from bsscale.schedules.base import Schedule

__all__ = ["Sequence"]


@dataclass(frozen=True)
class Sequence(Schedule):
    r"""Any schedules joined end to end, each of which sees its own steps from 0.

    With :math:`T_i` the sum of the lengths before part i,

    .. math:: \eta_t = \eta^{(i)}_{t - T_i} \qquad T_i \le t < T_{i+1}

    and the same for the momentum. The last part goes on without end.

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
        # Tuples, so that the value can be hashed and nobody can append to it.
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
        lengths = tuple(
            checks.whole(f"the length of part {index}", length, 1, "give each part at least 1 step")
            for index, length in enumerate(self.lengths)
        )
        object.__setattr__(self, "lengths", lengths)
        sets = [part.momentum_at(0) is not None for part in self.schedules]
        if any(sets) and not all(sets):
            names = [type(part).__name__ for part in self.schedules]
            raise ConfigError(
                f"part {sets.index(True)} of the sequence ({names[sets.index(True)]}) sets the "
                f"momentum, but part {sets.index(False)} ({names[sets.index(False)]}) does not",
                "let all of them or none: cycle_momentum=false makes a cycle leave it alone",
            )

    @property
    def length(self) -> int:
        return sum(self.lengths) + self.schedules[-1].length

    @property
    def peak(self) -> float | None:
        peaks = [part.peak for part in self.schedules]
        known = [peak for peak in peaks if peak is not None]
        return max(known) if len(known) == len(peaks) else None

    def phases(self) -> tuple[tuple[str, int], ...]:
        """The phases of every part that begin before the next part does."""
        phases: list[tuple[str, int]] = []
        for part, first, length in self._parts():
            own = part.phases() or ((type(part).__name__, 0),)
            phases += [
                (name, first + step) for name, step in own if length is None or step < length
            ]
        return tuple(phases)

    def notes(self) -> tuple[str, ...]:
        """Those of the parts, and parts that are cut before they are complete."""
        notes: list[str] = []
        for index, (part, _, length) in enumerate(self._parts()):
            name = f"part {index} ({type(part).__name__})"
            notes += [f"{name}: {note}" for note in part.notes()]
            if length is not None and part.length > length:
                notes.append(f"{name} takes {part.length} steps, but is cut after {length}")
        return tuple(notes)

    def check(self, steps: int) -> None:
        """Check every part for as many updates as it gets."""
        for part, first, length in self._parts():
            if first < steps:
                part.check(steps - first if length is None else min(length, steps - first))

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`: that of its part."""
        part, own = self._part(step)
        return part.lr_at(own)

    def momentum_at(self, step: int) -> float | None:
        """Momentum of update `step`: that of its part."""
        part, own = self._part(step)
        return part.momentum_at(own)

    def _part(self, step: int) -> tuple[Schedule, int]:
        for part, length in zip(self.schedules, self.lengths, strict=False):
            if step < length:
                return part, step
            step -= length
        return self.schedules[-1], step

    def _parts(self) -> Iterator[tuple[Schedule, int, int | None]]:
        """Each part with its first step and its length; the last has none."""
        first = 0
        for part, length in zip(self.schedules, (*self.lengths, None), strict=True):
            yield part, first, length
            first += length or 0
