"""Converts the label to numbers, without guessing which of two words is the positive one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from bsscale.data.table.column import Column
from bsscale.data.table.remedies import option_value
from bsscale.data.table.values import Text, read_numbers
from bsscale.errors import DataError
from bsscale.terminal.words import counted

if TYPE_CHECKING:
    import polars as pl

__all__ = ["as_label"]

_LABELS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}


def as_label(column: Column, positive: str | None) -> tuple[pl.Series, str | None]:
    """The values of the label as float32, and a note on the conversion.

    Booleans, and the words 0, 1, false and true, become 0 and 1. Numbers are unchanged.

    Parameters
    ----------
    column
        The label, of any type.
    positive
        The one of exactly two values that becomes 1; the other becomes 0. Numbers are compared as
        numbers, and text character by character.

    Raises
    ------
    DataError
        If it is other text, if it is not finite, or if `positive` is not one of two values.
    """
    import polars as pl

    name, dtype = column.name, column.dtype
    is_number = dtype.is_numeric()
    texts = column.values if is_number else column.values.cast(pl.String)
    if not is_number and dtype != pl.Boolean:
        numbers = read_numbers(texts)
        is_number = numbers.null_count() == texts.null_count()
    else:
        numbers = texts.cast(pl.Float64, strict=False)
    if positive is not None:
        # (Compare integers of Parquet as integers: above 2^53, two of them may be the same float.)
        exact = dtype.is_integer() and re.fullmatch(r"-?[1-9][0-9]*|0", positive) is not None
        values = texts.cast(pl.String) if exact else numbers if is_number else texts
        return _positive(values, name, positive)
    if not is_number:
        return _words(column, texts), None
    label = numbers.cast(pl.Float32, strict=False)
    lost = numbers.filter(label.is_infinite())
    if len(lost):
        raise DataError(
            f"the label {name!r} has the value {lost[0]!r}, which is too large for float32",
            "leave such rows out, or name the value under dataset.nulls",
        )
    different, kept = numbers.drop_nulls().n_unique(), label.drop_nulls().n_unique()
    note = f"{different:,} different labels are {kept:,} as float32." if kept < different else None
    return label, note


def _words(column: Column, texts: pl.Series) -> pl.Series:
    """The words 0, 1, false and true as numbers; raises DataError for other text."""
    import polars as pl

    known = texts.str.strip_chars().str.to_lowercase()
    found = texts.drop_nulls().unique().sort()
    if not set(known.drop_nulls().unique()) <= _LABELS.keys():
        text = Text.of(column)
        if text.is_almost_numeric:
            raise text.refusal(column.name)
        remedy = "give numbers, or two values of which dataset.positive=... names the one that is 1"
        if len(found) == 2:
            remedy = "say which is 1: " + " or ".join(option_value("positive", v) for v in found)
        raise DataError(f"the label {column.name!r} is text: {_shown(found)}", remedy)
    return known.replace_strict(_LABELS, default=None, return_dtype=pl.Float32)


def _positive(values: pl.Series, name: str, positive: str) -> tuple[pl.Series, str]:
    """1 where the label is `positive`, 0 where it is the other value."""
    import polars as pl

    found = values.drop_nulls().unique().sort()
    wanted: object = positive
    if values.dtype != pl.String:
        try:
            wanted = float(positive)
        except ValueError:
            wanted = np.nan
    if wanted not in found.to_list():
        raise DataError(
            f"positive is {positive!r}, but the label {name!r} has {_shown(found)}",
            "name one of its values, exactly as it is written",
        )
    if len(found) != 2:
        raise DataError(
            f"positive is {positive!r}, but the label {name!r} has {_shown(found)}",
            "give a label of exactly two values; name others under dataset.nulls to leave their "
            "rows out",
        )
    other = next(value for value in found if value != wanted)
    label = (values == wanted).cast(pl.Float32)
    return (
        label,
        f"The label is 1 where {name!r} is {_value(wanted)}, 0 where it is {_value(other)}.",
    )


def _shown(found: pl.Series) -> str:
    values = ", ".join(map(_value, found[:10])) + (", ..." if len(found) > 10 else "")
    return f"{counted(len(found), 'value')}: {values}"


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
