"""The user's own table: CSV, TSV or Parquet, with columns named or inferred."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bsscale.data.cache import cached, content_key
from bsscale.data.dataset import Dataset
from bsscale.data.encode import Rows, check_integer, check_split, encode, split_rows
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["load"]

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_PARQUET = (".parquet", ".pq")

# What text formats write for a missing value.
_NULLS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "\\N"]

_LABELS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}


def load(
    path: str,
    label: str,
    categorical: Sequence[str] | None = None,
    numeric: Sequence[str] | None = None,
    split: str = "random",
    split_seed: int = 0,
    time_column: str | None = None,
    min_count: int = 1,
) -> Dataset:
    r"""Prepare the table at `path` for training; cached, and prepared anew when the file changes.

    Parameters
    ----------
    path
        A .csv (comma), .tsv or .txt (tab), .parquet or .pq file with named columns; relative to
        the current directory, ``~`` allowed. In text files "NA", "N/A", "NaN", "null", "None",
        ``\N`` and nothing at all are missing values.
    label
        The column to predict: 0 and 1, or false and true. Rows without it are left out.
    categorical, numeric
        The feature columns. What is None is inferred from the columns not named: text, booleans
        and categories are categorical, integers and floats numeric; others, such as the dates of
        a Parquet file, are left out with a note (in a text file a date is text). Neither `label`
        nor `time_column` is ever a feature.
    split
        "random": 80/10/10 by `split_seed`. "time": sorted by `time_column`, the first 80% train,
        the next 10% validate, the last 10% test.
    split_seed
        Of the random split; the time split has no use for it.
    time_column
        Numbers, dates or ISO 8601 text; for split="time", where rows without it are left out.
    min_count
        A category seen fewer times than this in the training rows is unknown.

    Raises
    ------
    DataError
        The file or a column is missing or cannot be read as asked, the label is not binary, or
        there is too little to split.
    """
    check_split(split, split_seed)
    check_integer("min_count", min_count, 1)
    for option, names in (("categorical", categorical), ("numeric", numeric)):
        if isinstance(names, str):
            raise DataError(f"{option} is {names!r}, not a list", f"write {option}=[{names}]")
    if split == "time" and time_column is None:
        raise DataError(
            "split=time has no time_column", "name the column that says when: time_column=..."
        )
    source = Path(path).expanduser()
    _check_source(source)
    parameters = {
        "loader": "table",
        "format": source.suffix.lower(),
        "label": label,
        "categorical": None if categorical is None else list(categorical),
        "numeric": None if numeric is None else list(numeric),
        "split": split,
        "split_seed": split_seed if split == "random" else None,
        "time_column": time_column,
        "min_count": min_count,
    }

    def prepare() -> Dataset:
        frame = _read(source)
        features = _choose_features(frame, source, label, time_column, categorical, numeric)
        return _prepare(frame, features, split, split_seed, min_count)

    try:
        key = content_key([source], parameters)
    except OSError as error:
        raise DataError(f"cannot read {source}: {error}", "check the file's rights") from error
    return cached("table", key, prepare)


def _check_source(source: Path) -> None:
    if source.suffix.lower() not in (*_SEPARATORS, *_PARQUET):
        raise DataError(
            f"{source} ends in {source.suffix or 'no suffix'!r}",
            f"give a file that ends in {', '.join((*_SEPARATORS, *_PARQUET))}",
        )
    if not source.exists():
        raise DataError(
            f"there is no file {source}",
            f"paths are relative to the current directory, {Path.cwd()}",
        )
    if not source.is_file():
        raise DataError(f"{source} is not a file", "give one file")
    if source.stat().st_size == 0:
        raise DataError(f"{source} is empty", "give a file with a header and rows")


def _read(source: Path) -> pl.DataFrame:
    import polars as pl

    suffix = source.suffix.lower()
    try:
        if suffix in _PARQUET:
            frame = pl.read_parquet(source)
        else:
            frame = pl.read_csv(
                source,
                separator=_SEPARATORS[suffix],
                null_values=_NULLS,
                # The whole file decides the types: a late 1.5 or "x" must not fail or be lost.
                infer_schema_length=None,
            )
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"cannot read {source}: {reason}",
            "check that its suffix says its format and that every row has the header's columns",
        ) from error
    if frame.is_empty():
        raise DataError(f"{source} is empty: it has no rows", "give a file with rows")
    return frame


@dataclass(frozen=True)
class _Features:
    """What each column of a table is for.

    Attributes
    ----------
    label, time
        Column names; time is None without a time column.
    categorical, numeric
        Feature columns, in order.
    notes
        One sentence on the columns that are not used.
    """

    label: str
    time: str | None
    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    notes: tuple[str, ...]


def _choose_features(
    frame: pl.DataFrame,
    source: Path,
    label: str,
    time: str | None,
    categorical: Sequence[str] | None,
    numeric: Sequence[str] | None,
) -> _Features:
    """Check the columns that are named and infer the others."""
    named = [*(categorical or ()), *(numeric or ())]
    special = {label: "label"} if time is None else {time: "time_column", label: "label"}
    for name in [*special, *named]:
        _check_column(name, frame, source)
    for name in named:
        if name in special:
            raise DataError(
                f"column {name!r} is the {special[name]} and cannot be a feature too",
                "leave it out of categorical and numeric",
            )
        if named.count(name) > 1:
            raise DataError(
                f"column {name!r} is named {named.count(name)} times as a feature",
                "name it once, under categorical or numeric",
            )
    rest = [name for name in frame.columns if name not in named and name not in special]
    categories = [name for name in rest if _is_category(frame.schema[name])]
    numbers = [name for name in rest if frame.schema[name].is_numeric()]
    neither = [name for name in rest if name not in categories and name not in numbers]
    notes = []
    if neither and (categorical is None or numeric is None):
        typed = ", ".join(f"{name} ({frame.schema[name]})" for name in neither)
        notes.append(f"Columns neither categorical nor numeric are not used: {typed}.")
    features = _Features(
        label,
        time,
        categorical=tuple(categories if categorical is None else categorical),
        numeric=tuple(numbers if numeric is None else numeric),
        notes=tuple(notes),
    )
    if not features.categorical and not features.numeric:
        raise DataError(
            f"{source} has no feature column beside {', '.join(special)}",
            "name some: categorical=[...] numeric=[...]",
        )
    return features


def _check_column(name: str, frame: pl.DataFrame, source: Path) -> None:
    """Refuse a name that is no column, or a column that holds no single values."""
    columns = frame.columns
    if name in columns:
        if frame.schema[name].is_nested():
            raise DataError(
                f"column {name!r} holds {frame.schema[name]}, not single values",
                "leave it out, or turn it into columns of single values",
            )
        return
    by_case = {column.lower(): column for column in columns}
    near = [by_case[c] for c in difflib.get_close_matches(name.lower(), by_case, n=3, cutoff=0.5)]
    shown = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
    raise DataError(
        f"{source} has no column {name!r}",
        f"did you mean {' or '.join(map(repr, near))}?" if near else f"its columns are: {shown}",
    )


def _is_category(dtype: pl.DataType) -> bool:
    import polars as pl

    return dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)


def _prepare(
    frame: pl.DataFrame, features: _Features, split: str, split_seed: int, min_count: int
) -> Dataset:
    labelled = frame.with_columns(_as_label(frame[features.label]))
    labelled, notes = _left_out(labelled, features.label, "label")
    if split == "time" and features.time is not None:
        labelled = labelled.with_columns(_as_time(labelled[features.time]))
        labelled, more = _left_out(labelled, features.time, "time")
        notes += more
        labelled = labelled.sort(features.time, maintain_order=True)
    label = labelled[features.label].to_numpy().astype(np.float32)
    rows = split_rows(len(labelled), split, split_seed)
    _check_classes(label, features.label, rows)
    encodable = labelled.select(
        *(_as_category(labelled[name]) for name in features.categorical),
        *(_as_number(labelled[name]) for name in features.numeric),
    )
    return encode(
        encodable,
        features.categorical,
        features.numeric,
        label,
        rows,
        min_count=min_count,
        notes=[*notes, *features.notes],
    )


def _left_out(frame: pl.DataFrame, column: str, role: str) -> tuple[pl.DataFrame, list[str]]:
    """The rows that have a value in `column`, and a note on the others."""
    kept = frame.drop_nulls(column)
    missing = len(frame) - len(kept)
    if not missing:
        return kept, []
    return kept, [f"{missing:,} of {len(frame):,} rows have no {role} {column!r}: left out."]


def _as_label(column: pl.Series) -> pl.Series:
    """The label as float32 0 and 1, null where it is missing."""
    import polars as pl

    if column.dtype.is_float() or column.dtype.is_decimal():
        column = column.cast(pl.Float64).fill_nan(None)
    texts = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    found = texts.drop_nulls().unique().sort()
    strange = [value for value in found if value not in _LABELS]
    if strange:
        shown = ", ".join(found[:10]) + (", ..." if len(found) > 10 else "")
        raise DataError(
            f"the label {column.name!r} is not binary: it has {len(found):,} values: {shown}",
            "give a column of 0 and 1, or false and true",
        )
    return texts.replace_strict(_LABELS, return_dtype=pl.Float32)


def _as_time(column: pl.Series) -> pl.Series:
    """A column that sorts in time: numbers and dates as they are, text parsed."""
    import polars as pl

    if column.dtype.is_float():
        return column.fill_nan(None)
    if column.dtype.is_integer() or column.dtype.is_temporal():
        return column
    texts = column.cast(pl.String)
    # Only the ISO form says by itself what is the month: 1/2/2013 would be guessed.
    strange = texts.filter(~texts.str.contains(r"^\d{4}-\d{2}-\d{2}"))
    try:
        if strange.is_empty():
            return texts.str.to_datetime(time_zone="UTC")
    except pl.exceptions.PolarsError:
        strange = texts.drop_nulls()
    raise DataError(
        f"the time column {column.name!r} has values such as {strange[0]!r}",
        "give numbers, dates, or text of one form such as 2013-01-31 or 2013-01-31T23:59:00",
    )


def _as_category(column: pl.Series) -> pl.Series:
    """A column with an order that its values alone decide."""
    import polars as pl

    if column.dtype.is_float():
        return column.fill_nan(None)
    # The order of Categorical and Enum values depends on how they came about.
    in_order = column.dtype.is_numeric() or column.dtype.is_temporal() or column.dtype == pl.Boolean
    return column if in_order else column.cast(pl.String)


def _as_number(column: pl.Series) -> pl.Series:
    """A column as float64."""
    import polars as pl

    numbers = column.cast(pl.Float64, strict=False)
    lost = column.filter(numbers.is_null() & column.is_not_null())
    if len(lost):
        raise DataError(
            f"column {column.name!r} is not numeric: {len(lost):,} values such as {lost[0]!r}",
            "name it under categorical, or leave it out",
        )
    return numbers


def _check_classes(label: npt.NDArray[np.float32], name: str, rows: Rows) -> None:
    """Both classes must be in every split: no AUC is defined without them."""
    if len(np.unique(label)) == 1:
        raise DataError(
            f"the label {name!r} is {label[0]:.0f} in all {len(label):,} rows",
            "give a table with both classes",
        )
    for split in ("train", "validation", "test"):
        values = label[getattr(rows, split)]
        if len(np.unique(values)) == 1:
            raise DataError(
                f"the label {name!r} is {values[0]:.0f} in all {len(values):,} {split} rows",
                "give more rows, or another split or split_seed",
            )
