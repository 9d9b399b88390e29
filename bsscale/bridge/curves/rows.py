"""The rows of a source: named columns of whatever values it has, and their checked numbers."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from bsscale.errors import RecordsError

__all__ = ["OneRun", "Rows", "label"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan|[+-]?inf(inity)?", re.IGNORECASE)


def label(value: object) -> str:
    """A value as the name of an arm: on one line, and in characters that a file can have."""
    text = "" if value is None else " ".join(str(value).split())
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True)
class OneRun:
    """What is known of the run that a whole source is of.

    Attributes
    ----------
    arm, seed
        Its arm, and its random seed if it is known.
    settings
        Whole numbers by the names of a run's record, such as ``global_batch``.
    """

    arm: str
    seed: int | None
    settings: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """What a source holds.

    Attributes
    ----------
    path, format
        The file or folder, and what it is.
    columns
        Values by name, all of one length. None and "" are missing values.
    numbered_from
        The number of the first row in messages.
    row_word
        What a row is called there.
    run
        The run that the whole source is of, whose rows are in the order of its training; None for a
        table, which may hold many.
    samples_remedy
        What to do if it does not count samples.
    """

    path: Path
    format: str
    columns: Mapping[str, Sequence[object]]
    numbered_from: int = 1
    row_word: str = "row"
    run: OneRun | None = None
    samples_remedy: str = ""

    def where(self, index: int) -> str:
        """A row, by its number and its source."""
        return f"{self.row_word} {index + self.numbered_from} of {self.path}"

    def column(self, name: str, option: str) -> Sequence[object]:
        """The values of a column.

        Parameters
        ----------
        name
            Of the column.
        option
            The option that gives its name.

        Raises
        ------
        RecordsError
            If there is none of that name.
        """
        if name not in self.columns:
            known = list(self.columns)
            remedy = self.samples_remedy if option == "task.columns.samples" else ""
            listed = ", ".join(known[:20]) + (f" and {len(known) - 20} more" * (len(known) > 20))
            raise RecordsError(
                f"{self.path} ({self.format}) has no {name!r}, only {listed or 'nothing'}",
                f"{remedy}give the name: {option}=NAME",
            )
        return self.columns[name]

    def number(self, value: object, index: int, name: str) -> float | None:
        """A value as a number, which may be NaN or infinite; None if it is missing.

        Raises
        ------
        RecordsError
            If it is no number.
        """
        if value is None or value == "":
            return None
        if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
            return float(value)
        if isinstance(value, numbers.Real | Decimal) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:
                return math.inf
        raise RecordsError(
            f"{name} is {value!r} in {self.where(index)}, which is no number",
            "write a number; leave the field empty where nothing was measured, and write nan where "
            "the value was not finite",
        )

    def count(self, value: object, index: int, name: str, remedy: str) -> int:
        """A value as a whole number of at least 0.

        Raises
        ------
        RecordsError
            If it is something else.
        """
        number = self.number(value, index, name)
        if number is None:
            raise RecordsError(f"{name} is missing in {self.where(index)}", remedy)
        if not math.isfinite(number) or number != round(number) or number < 0:
            raise RecordsError(
                f"{name} is {value} in {self.where(index)}, which is no whole number of at least 0",
                remedy,
            )
        return round(number)
