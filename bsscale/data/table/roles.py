"""The role of each column of a table: given by an option, or inferred from its values."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from bsscale.data.table.source import Source
from bsscale.data.table.values import NO_TEXT, Text, is_category
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Asked", "Roles", "check_named", "choose_roles"]

# The names of pandas' row numbers: empty, which pandas reads as "Unnamed: 0".
_INDEX_NAMES = ("", "__index_level_0__", "Unnamed: 0")
_SINGLE_VALUES = (
    "turn it into columns of single values (padded), or use a TrainStream or a training script of "
    "your own"
)


@dataclass(frozen=True)
class Asked:
    """The columns that the options name; None: inferred."""

    label: str
    time: str | None
    categorical: tuple[str, ...] | None
    numeric: tuple[str, ...] | None
    drop: tuple[str, ...]
    group: str | None = None
    weight: str | None = None

    @property
    def special(self) -> dict[str, str]:
        """The columns that are never features, with the option that names each."""
        time = {} if self.time is None else {self.time: "time_column"}
        group = {} if self.group is None else {self.group: "group_column"}
        weight = {} if self.weight is None else {self.weight: "weight"}
        return {**time, **group, **weight, self.label: "label"}

    @property
    def features(self) -> list[str]:
        """The features that are named."""
        return [*(self.categorical or ()), *(self.numeric or ())]


@dataclass(frozen=True)
class Roles:
    """The role of each column of a table.

    Attributes
    ----------
    label, time, group, weight
        Column names; all but the label are None without such a column.
    categorical, numeric
        Feature columns, in order.
    inferred
        The features that no option names.
    unused
        The other columns, with the reason.
    reading
        Column -> how its text is read, if that may be unexpected.
    notes
        Sentences on the columns that are left out, and on those in `reading`.
    """

    label: str
    time: str | None
    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    inferred: frozenset[str]
    unused: Mapping[str, str]
    reading: Mapping[str, str]
    notes: tuple[str, ...]
    group: str | None = None
    weight: str | None = None


@dataclass
class _Inferred:
    categorical: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)
    reading: dict[str, str] = field(default_factory=dict)
    odd: dict[str, Text] = field(default_factory=dict)


def choose_roles(
    dtypes: Mapping[str, pl.DataType], texts: Mapping[str, Text], source: Source, asked: Asked
) -> Roles:
    """Check the columns that are named and infer the others.

    Parameters
    ----------
    dtypes
        The columns in order, with their types in the source.
    texts
        The statistics of the columns of type String.
    source, asked
        The file, and the columns that the options name.

    Raises
    ------
    DataError
        If a column does not exist or is named twice, if there is no feature, or if a column without
        a given role has mostly numbers and some other values.
    """
    check_named(dtypes, source, asked)
    found = _Inferred()
    for name in dtypes:
        if name in asked.special or name in asked.features:
            continue
        if name in asked.drop:
            found.unused[name] = "dropped"
        elif name in _INDEX_NAMES:
            found.unused[name] = "has no name, as a row number of pandas"
        else:
            _infer(name, dtypes[name], texts.get(name, NO_TEXT), source.is_text, asked, found)
    if found.odd:
        name, text = next(iter(found.odd.items()))
        others = [other for other in found.odd if other != name]
        refusal = text.refusal(
            name, [c for c in asked.categorical or found.categorical if c not in found.odd]
        )
        more = f"; the same is true of: {', '.join(others[:10])}" if others else ""
        raise DataError(refusal.fact + more, refusal.remedy)
    for name in asked.numeric or ():
        if source.is_text and (padded := texts[name].padded) is not None:
            found.reading[name] = _padding(padded)
    roles = Roles(
        asked.label,
        asked.time,
        categorical=tuple(found.categorical) if asked.categorical is None else asked.categorical,
        numeric=tuple(found.numeric) if asked.numeric is None else asked.numeric,
        inferred=frozenset([*found.categorical, *found.numeric]),
        unused=found.unused,
        reading=found.reading,
        notes=tuple(_notes(found, all_named=None not in (asked.categorical, asked.numeric))),
        group=asked.group,
        weight=asked.weight,
    )
    if not roles.categorical and not roles.numeric:
        raise DataError(
            f"{source.path} has no feature column beside {', '.join(asked.special)}",
            "name some: dataset.categorical=[...] dataset.numeric=[...]",
        )
    return roles


def _infer(
    name: str, dtype: pl.DataType, text: Text, is_text: bool, asked: Asked, found: _Inferred
) -> None:
    """Infer the role of a column, and add it to `found`."""
    if not is_text:
        numeric, category = dtype.is_numeric(), is_category(dtype)
    else:
        numeric, category = text.is_numeric, not text.is_numeric
        if text.is_almost_numeric and None in (asked.categorical, asked.numeric):
            found.odd[name] = text
        elif numeric and text.padded is not None and asked.numeric is None:
            found.reading[name] = _padding(text.padded)
        elif text.code is not None and asked.categorical is None:
            found.reading[name] = f"kept as text: codes such as {text.code!r}"
    unread = category and asked.categorical is None and name not in found.reading
    if unread and 2 * text.numbers >= text.present > 0:
        found.reading[name] = f"kept as text: {text.numbers:,} of {text.present:,} are numbers"
    if numeric and asked.numeric is None:
        found.numeric.append(name)
    elif category and asked.categorical is None:
        found.categorical.append(name)
    elif numeric or category:
        found.unused[name] = f"not named under {'numeric' if numeric else 'categorical'}"
    elif dtype.is_nested():
        found.unused[name] = f"{dtype}, not single values: {_SINGLE_VALUES}"
    else:
        found.unused[name] = f"neither categorical nor numeric ({dtype})"


def _padding(value: str) -> str:
    return f"read as numbers: {value!r} has spaces or a plus"


def _notes(found: _Inferred, all_named: bool) -> list[str]:
    """Notes on columns that are left out, unless all features are named, and on `reading`."""
    notes = []
    for why in dict.fromkeys(found.unused.values()):
        if why != "dropped" and not all_named:
            names = [name for name, reason in found.unused.items() if reason == why]
            notes.append(f"Columns left out ({why}): {', '.join(n or repr(n) for n in names)}.")
    readings = [f"{name!r} {reading}" for name, reading in found.reading.items()]
    if readings:
        more = f"; and {len(readings) - 5:,} more" if len(readings) > 5 else ""
        notes.append(f"Columns: {'; '.join(readings[:5])}{more}.")
    return notes


def check_named(dtypes: Mapping[str, pl.DataType], source: Source, asked: Asked) -> None:
    """Raise DataError for a named column that does not exist, or that cannot have its role."""
    named = asked.features
    for name in [*asked.special, *named, *asked.drop]:
        _check_column(name, list(dtypes), source)
    for name in [*asked.special, *named]:
        if dtypes[name].is_nested() or str(dtypes[name]) in ("Binary", "Object"):
            raise DataError(
                f"column {name!r} holds {dtypes[name]}, not single values",
                _SINGLE_VALUES,
            )
    roles = {
        **{"label": asked.label, "time_column": asked.time},
        **{"group_column": asked.group, "weight": asked.weight},
    }
    for (one, column), (other, same) in combinations(roles.items(), 2):
        if column is not None and column == same:
            raise DataError(f"column {column!r} is the {one} and the {other}", "name two columns")
    for name in [*named, *asked.drop]:
        if name in asked.special:
            raise DataError(
                f"column {name!r} is the {asked.special[name]} and cannot also be a feature "
                "or dropped",
                "leave it out of categorical, numeric and drop",
            )
    for name in named:
        if name in asked.drop:
            raise DataError(
                f"column {name!r} is named as a feature and under drop",
                "name it in one place",
            )
        if named.count(name) > 1:
            raise DataError(
                f"column {name!r} is named {named.count(name)} times as a feature",
                "name it once, under categorical or numeric",
            )


def _check_column(name: str, columns: Sequence[str], source: Source) -> None:
    """Raise DataError for a name that is not a column."""
    if name in columns:
        return
    by_case = {column.lower(): column for column in columns}
    near = [by_case[c] for c in difflib.get_close_matches(name.lower(), by_case, n=3, cutoff=0.5)]
    shown = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
    remedy = f"its columns are: {shown}"
    if near:
        remedy = f"did you mean {' or '.join(map(repr, near))}?"
    elif source.is_text and source.names is None:
        remedy += "; if this row is data, add dataset.header=false dataset.columns=[...]"
    raise DataError(f"{source.path} has no column {name!r}", remedy)
