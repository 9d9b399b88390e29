"""Files of a table that seem to be missing, such as a day, by the names of the others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date
from itertools import pairwise

__all__ = ["missing_files_note"]

_DATE = re.compile(r"(\d{4})([-_]?)(\d{2})\2(\d{2})")


def missing_files_note(names: Sequence[str]) -> str | None:
    """A note on gaps in the numbers or dates of file names; None for none.

    Names have a place where they differ: a date, or else a number. What most neighbours differ by
    is the step from one file to the next.

    Parameters
    ----------
    names
        In their order.
    """
    places = _dates(names) or _numbers(names)
    if places is None or len(names) < 3:
        return None
    steps = [later - former for former, later in pairwise(places)]
    step = Counter(steps).most_common(1)[0][0]
    if step < 1 or any(each < 1 or each % step for each in steps):
        return None  # (no sequence)
    gaps = [number for number, each in enumerate(steps) if each > step]
    missing = sum(steps[number] // step - 1 for number in gaps)
    if not gaps or missing > len(names):
        return None
    first = gaps[0]
    files = "a file seems" if missing == 1 else f"{missing:,} files seem"
    where = f"between {names[first]} and {names[first + 1]}"
    return f"By their names, {files} to be missing{', the first' if missing > 1 else ''} {where}."


def _dates(names: Sequence[str]) -> list[int] | None:
    found = []
    for name in names:
        dates = _DATE.findall(name)
        if len(dates) != 1:
            return None
        year, _, month, day = dates[0]
        try:
            found.append(date(int(year), int(month), int(day)).toordinal())
        except ValueError:  # (a number of 8 digits)
            return None
    return found


def _numbers(names: Sequence[str]) -> list[int] | None:
    """The number in which names differ, if it is one and the rest of them is the same."""
    stems = [re.sub(r"\.(gz|zst)$", "", name) for name in names]  # (some may be compressed)
    split = [re.split(r"([0-9]+)", stem) for stem in stems]
    if len({tuple(parts[::2]) for parts in split}) != 1:
        return None
    columns = list(zip(*(map(int, parts[1::2]) for parts in split), strict=True))
    varied = [column for column in columns if len(set(column)) > 1]
    return list(varied[0]) if len(varied) == 1 else None
