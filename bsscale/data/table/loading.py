"""The loader of tables: its options, and the steps from the file to the arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bsscale.data.cache import cached, content_key
from bsscale.data.dataset import Dataset
from bsscale.data.encode import check_integer, check_split, encode, split_rows
from bsscale.data.table.columns import check_copies, describe_columns, with_cardinalities
from bsscale.data.table.labels import as_label
from bsscale.data.table.roles import Asked, choose_roles
from bsscale.data.table.source import Source, open_source
from bsscale.data.table.values import as_category, as_number, as_time, with_missing
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["load"]


def load(
    path: str,
    label: str,
    categorical: Sequence[str] | None = None,
    numeric: Sequence[str] | None = None,
    drop: Sequence[str] | None = None,
    positive: str | None = None,
    nulls: Sequence[str] | None = None,
    separator: str | None = None,
    header: bool = True,
    columns: Sequence[str] | None = None,
    split: str = "random",
    split_seed: int = 0,
    time_column: str | None = None,
    min_count: int = 1,
) -> Dataset:
    r"""Prepare the table at `path` for training; the result is cached until the file changes.

    Parameters
    ----------
    path
        A .csv (comma), .tsv or .txt (tab) file, these also as .gz or .zst, or a .parquet or .pq
        file; relative to the current directory, ``~`` allowed, never a pattern. Text files are
        UTF-8. In them "NA", "N/A", "NaN", "null", "None", ``\N`` and empty fields are missing
        values.
    label
        The column to predict. Booleans become 0 and 1, numbers are unchanged; for other text see
        `positive`. Rows without it are left out.
    categorical, numeric
        The feature columns; None: inferred from the columns that no option names. In a text file,
        columns of numbers are numeric and all others categorical. A column of numbers with a few
        other values is an error, and numbers such as 00012 are codes. In a Parquet file, text,
        booleans and categories are categorical, and integers and floats numeric; other types, such
        as dates, are left out with a note. Two values of a categorical column are the same category
        only if they are written the same way. `label` and `time_column` are never features.
    drop
        Columns to leave out.
    positive
        Which of the label's two values is 1; the other one is 0.
    nulls
        Further missing values, exactly as they are written.
    separator
        The separator of the fields of a text file: one character, or "tab"; None: by the suffix.
    header, columns
        header=False: the first row of a text file is data, and `columns` names all columns.
    split
        "random": 80/10/10 by `split_seed`. "time": sorted by `time_column`, the first 80% train,
        the next 10% validate, the last 10% test.
    split_seed
        The seed of the random split; the time split does not use it.
    time_column
        A column of numbers, dates or ISO 8601 text, for split="time"; rows without it are left out.
    min_count
        A category that occurs less often in the training rows is unknown.

    Raises
    ------
    DataError
        If the file or a column is missing or cannot be read without guessing, or if there are too
        few rows to split.
    """
    check_split(split, split_seed)
    check_integer("min_count", min_count, 1)
    if split == "time" and time_column is None:
        raise DataError(
            "split=time has no time_column", "name the column with the time: time_column=..."
        )
    asked = Asked(
        label=_text("label", label),
        time=None if time_column is None else _text("time_column", time_column),
        categorical=None if categorical is None else _texts("categorical", categorical),
        numeric=None if numeric is None else _texts("numeric", numeric),
        drop=_texts("drop", drop),
    )
    recipe = _Recipe(
        source=open_source(
            path, separator, header, None if columns is None else _texts("columns", columns)
        ),
        asked=asked,
        positive=None if positive is None else _value("positive", positive),
        nulls=tuple(_value("nulls", null) for null in _listed("nulls", nulls)),
        split=split,
        split_seed=split_seed if split == "random" else None,
        min_count=min_count,
    )
    key = recipe.key()

    def prepare() -> Dataset:
        dataset = recipe.prepare()
        if recipe.key() != key:
            raise DataError(f"{recipe.source.path} was changed while it was read", "start again")
        return dataset

    return cached("table", key, prepare)


@dataclass(frozen=True)
class _Recipe:
    """Everything on which the arrays depend."""

    source: Source
    asked: Asked
    positive: str | None
    nulls: tuple[str, ...]
    split: str
    split_seed: int | None
    min_count: int

    def key(self) -> str:
        """The key of the arrays in the cache, for the present content of the file."""
        source, options = self.source, vars(self)
        parameters: dict[str, Any] = {
            **{name: value for name, value in options.items() if name not in ("source", "asked")},
            **vars(self.asked),
            "loader": "table",
            "format": source.format,
            "separator": source.separator,
            "names": source.names,
        }
        try:
            return content_key([source.path], parameters)
        except OSError as error:
            raise DataError(
                f"cannot read {source.path}: {error}", "check the permissions of the file"
            ) from error

    def prepare(self) -> Dataset:
        """Read the file and encode it."""
        import polars as pl

        frame, reading = self.source.read()
        try:
            return self._prepare(frame, reading)
        except pl.exceptions.PolarsError as error:
            reason = str(error).strip().splitlines()[0]
            raise DataError(
                f"cannot read the values of {self.source.path}: {reason}",
                "leave the column out (dataset.drop=[...]) or store it as numbers or text",
            ) from error

    def _prepare(self, frame: pl.DataFrame, notes: list[str]) -> Dataset:
        import polars as pl

        is_text, asked = self.source.is_text, self.asked
        notes += self._unseen_nulls(frame)
        frame = with_missing(frame, self.nulls, is_text)
        roles = choose_roles(frame, self.source, asked)
        label, labelling = as_label(frame[roles.label], self.positive)
        values = pl.DataFrame(
            {name: as_category(frame[name], is_text) for name in roles.categorical}
            | {name: as_number(frame[name]) for name in roles.numeric}
        )
        labels = label.to_numpy().astype(np.float32)
        check_copies(values, labels, roles)
        columns = describe_columns(frame, values, labels, roles)
        kept = label.is_not_null()
        notes += [*([labelling] if labelling else []), *_left_out(kept, kept, "label", roles.label)]
        order = np.flatnonzero(kept.to_numpy())
        if self.split == "time" and roles.time is not None:
            time = as_time(frame[roles.time])
            notes += _left_out(kept & time.is_not_null(), kept, "time", roles.time)
            timed = pl.DataFrame([time.alias("time"), kept.alias("kept")]).with_row_index("row")
            timed = timed.filter("kept").drop_nulls("time").sort("time", maintain_order=True)
            order = timed["row"].to_numpy().astype(np.int64)
        dataset = encode(
            values[order],
            roles.categorical,
            roles.numeric,
            labels[order],
            split_rows(len(order), self.split, self.split_seed or 0),
            min_count=self.min_count,
            notes=[*notes, *roles.notes],
        )
        schema = dataset.schema
        cardinalities = dict(zip(schema.categorical, schema.cardinalities, strict=True))
        return replace(dataset, columns=with_cardinalities(columns, cardinalities))

    def _unseen_nulls(self, frame: pl.DataFrame) -> list[str]:
        """A note on values of `nulls` that do not occur."""
        before = with_missing(frame, (), False).null_count()
        unseen = [
            null
            for null in self.nulls
            if with_missing(frame, [null], False).null_count().equals(before)
        ]
        return [f"No field is {', '.join(map(repr, unseen))} (dataset.nulls)."] if unseen else []


def _left_out(kept: pl.Series, before: pl.Series, role: str, name: str) -> list[str]:
    """A note on the rows that are left out because `name` has no value."""
    count = int(before.sum()) if role == "time" else len(before)
    missing = count - int(kept.sum())
    return [f"{missing:,} of {count:,} rows have no {role} {name!r}: left out."] if missing else []


def _listed(option: str, values: object) -> list[Any]:
    if values is None:
        return []
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise DataError(f"{option} is {values!r}, not a list", f"write dataset.{option}=[{values}]")
    return list(values)


def _texts(option: str, values: object) -> tuple[str, ...]:
    return tuple(_text(option, value) for value in _listed(option, values))


def _text(option: str, value: object) -> str:
    """The name of a column; an integer is valid too, for numbered columns."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise DataError(
        f"{option} has {value!r}, a {type(value).__name__}, not a name",
        f"write the name in quotes within quotes, such as '\"{value}\"'",
    )


def _value(option: str, value: object) -> str:
    """A value as text, because the command line may have converted it to a number."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise DataError(f"{option} has {value!r}, not a value", "give text or a number")
