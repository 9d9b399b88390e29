"""One palette: an arm has the same colour, dash and mark in every figure, page and notebook.

A baseline is drawn in the colour of text and a control in grey; every other arm has a colour of its
own. A schedule that ships has its own place in the palette, so that it looks alike in two reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

__all__ = [
    "COLORS",
    "DIVERGED",
    "GRID",
    "INK",
    "MUTED",
    "NOT_REACHED",
    "PAPER",
    "THEMES",
    "Style",
    "Styles",
    "styles",
]

PAPER, INK, MUTED, GRID = "#ffffff", "#1a1d21", "#595f67", "#e2e5e9"

# Six colours with a contrast of 3 or more on either background, light or dark. Of such colours they
# are among those that people with any colour blindness tell apart best, also from ink and grey (a
# search from Okabe and Ito's palette for the largest least distance in Oklab; tests/test_palette.py
# measures both). Words are written in ink, with the arm's mark beside them.
COLORS = ("#0054d5", "#dd5c00", "#089a75", "#967ccb", "#693c00", "#4b2d8f")
_DARK = ("#4a98ab", "#f47d31", "#18b671", "#f4a6fa", "#f2dc7c", "#9180e8")

# By the name of a variable in page.css: the colour on paper, and the colour in the dark.
THEMES: Mapping[str, tuple[str, str]] = {
    "bg": (PAPER, "#14171a"),
    "panel": ("#f5f6f8", "#1d2126"),
    "text": (INK, "#e8eaed"),
    "muted": (MUTED, "#a8b0b9"),
    "grid": (GRID, "#333a42"),
    "accent": ("#00568a", "#85c4f4"),
    **{f"c{n}": pair for n, pair in enumerate(zip(COLORS, _DARK, strict=True), start=1)},
}

# Dashes and marks distinguish arms without colours. Marks are paths within -1 and 1. A triangle to
# the right and a cross are not among them: they say that a run did not reach its target, or
# diverged.
DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (12, 4))
MARKS = (
    "M0,-1A1,1,0,1,1,0,1A1,1,0,1,1,0,-1Z",
    "M-0.89,-0.89H0.89V0.89H-0.89Z",
    "M0,-1.2L1.2,0L0,1.2L-1.2,0Z",
    "M0,-1.1L1.1,0.8H-1.1Z",
    "M0,1.1L1.1,-0.8H-1.1Z",
    "M0,-1.1L0.95,-0.55V0.55L0,1.1L-0.95,0.55V-0.55Z",
    "M0,-1.3L0.31,-0.42L1.24,-0.4L0.5,0.16L0.76,1.05L0,0.52L-0.76,1.05L-0.5,0.16L-1.24,-0.4"
    "L-0.31,-0.42Z",
)
NOT_REACHED = "M-0.8,-1L1,0L-0.8,1Z"
DIVERGED = "M-1,-0.6L-0.6,-1L0,-0.4L0.6,-1L1,-0.6L0.4,0L1,0.6L0.6,1L0,0.4L-0.6,1L-1,0.6L-0.4,0Z"

# The places of the schedules that a study compares by itself.
_PLACES = {
    "onecycle": 0,
    "fixed": 1,
    "linear_scaling": 2,
    "sqrt_scaling": 3,
    "linear_warmup": 4,
    "cosine": 5,
    # (of task=scaling, where they are no controls)
    "tuned_onecycle": 0,
    "tuned_constant": 1,
}


@dataclass(frozen=True)
class Style:
    """How an arm is drawn.

    Attributes
    ----------
    color
        On paper; `THEMES` has the same in the dark.
    dash
        Of its lines: pixels drawn and left out, in turn.
    mark
        Of its points: a path within about -1 and 1.
    """

    color: str
    dash: tuple[int, ...]
    mark: str

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, for report.json."""
        return asdict(self)


Styles = Mapping[str, Style]


def styles(arms: Iterable[tuple[str, str, str | None]]) -> Styles:
    """How each arm is drawn, by its label.

    Parameters
    ----------
    arms
        Of each: its label, the name of its schedule, and its role (baseline, arm or control; None
        is an arm). Labels are unique.

    Returns
    -------
    Styles that differ up to 30 arms, 5 baselines and 5 controls; beyond, they repeat.
    """
    arms = list(arms)
    found: dict[str, Style] = {}
    for role, color in (("baseline", INK), ("control", MUTED)):
        labels = [label for label, _, each in arms if each == role]
        for number, label in enumerate(labels):
            place = number + (role == "control")  # (a baseline's line is whole)
            found[label] = Style(color, _of(DASHES, place), _of(MARKS, place))
    own = [(label, schedule) for label, schedule, role in arms if label not in found]
    places: dict[int, str] = {}
    for label, schedule in own:
        known = _PLACES.get(label, _PLACES.get(schedule))
        if known is not None:
            places.setdefault(known, label)
    free = (place for place in count() if place not in places)
    placed = {label: place for place, label in places.items()}
    for label, _ in own:
        place = placed[label] if label in placed else next(free)
        turn = place // len(COLORS)
        found[label] = Style(
            _of(COLORS, place), _of(DASHES, place % len(COLORS) + turn), _of(MARKS, place + turn)
        )
    return {label: found[label] for label, _, _ in arms}


def _of(values: tuple[Any, ...], place: int) -> Any:
    return values[place % len(values)]
