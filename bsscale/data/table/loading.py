"""The loader of tables: its options, and the steps from the file to the arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bsscale.data.cache import cached_arrays, content_key
from bsscale.data.dataset import ArrayStream, Dataset
from bsscale.data.encode import check_integer, check_split
from bsscale.data.evaluated import MOST_ROWS
from bsscale.data.order import ORDERS
from bsscale.data.prepared import Prepared
from bsscale.data.table.open_source import Reading, open_source
from bsscale.data.table.preparation import TRANSFORMS, Options, Preparation
from bsscale.data.table.roles import Asked
from bsscale.data.table.source import Source
from bsscale.errors import DataError

__all__ = ["check_options", "load", "load_table"]

_SPLITS = ("random", "time", "group")
_MOST_IDS = 2**31 - 1
# Validation rows of an evaluation: with fewer, a metric says nothing.
_FEWEST_ROWS = 100
_LATER = {
    "boundaries": None,
    "group": None,
    "hash_buckets": None,
    "numeric_transform": "none",
    "splits": None,
    "weight": None,
}


def load(
    path: str | Sequence[str],
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
    pattern: str | None = None,
    validation_path: str | Sequence[str] | None = None,
    test_path: str | Sequence[str] | None = None,
    validation_from: object = None,
    test_from: object = None,
    group_column: str | None = None,
    hash_buckets: int | None = None,
    numeric_transform: str = "none",
    validation_rows: int = MOST_ROWS,
    order: str = "permutation",
    weight: str | None = None,
) -> Dataset:
    r"""Prepare the table at `path` for training; the result is cached until a file changes.

    Parameters
    ----------
    path
        A .csv (comma), .tsv or .txt (tab) file, these also as .gz or .zst, or a .parquet or .pq
        file; relative to the current directory, ``~`` allowed, never a pattern. A list of such
        files, or a folder, whose tables are read in the order of their names. Text files are
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
        the next 10% validate, the last 10% test. "group": about 80/10/10 by `split_seed`, all rows
        with one value of `group_column` in one split.
    split_seed
        The seed of the random split and of the group split; the time split does not use it.
    time_column
        A column of numbers, dates or ISO 8601 text, for split="time"; rows without it are left out.
    min_count
        A category that occurs less often in the training rows is unknown.
    pattern
        Which files of the folder `path` are read, such as "day_*.csv".
    validation_path, test_path
        The files of these splits, as `path`; the rows of `path` are then all training rows.
    validation_from, test_from
        The first times of the validation and of the test split, for split="time": numbers, or
        ISO 8601 (UTC without a zone). None: 80/10/10.
    group_column
        A column for split="group", such as the user; rows without it are left out.
    hash_buckets
        Ids by hashing (`hashed_ids`) instead of a vocabulary, so many for each column.
    numeric_transform
        "log1p": numbers are standardized after sign(x) log(1 + |x|). "none": as they are.
    validation_rows
        The most validation rows that are evaluated during training, drawn once (`evaluated_rows`).
    order
        The order in which training rows are seen: "permutation", any order of all rows, or
        "blocks" (`BlockOrder`), for arrays that do not fit in memory.
    weight
        A column with the weight of each row in the loss, in log loss and in normalized entropy,
        such as 1 / rate where negatives were sampled at a rate. They are divided by their mean over
        the training rows, so that learning rates keep their meaning.

    Raises
    ------
    DataError
        If the file or a column is missing or cannot be read without guessing, or if there are too
        few rows to split.
    """
    check_split(split, split_seed, _SPLITS)
    check_options(min_count, hash_buckets, numeric_transform, split, validation_path)
    boundaries = _boundaries(split, validation_from, test_from)
    _check_roles(split, time_column, group_column)
    asked = Asked(
        label=_text("label", label),
        time=None if time_column is None else _text("time_column", time_column),
        categorical=None if categorical is None else _texts("categorical", categorical),
        numeric=None if numeric is None else _texts("numeric", numeric),
        drop=_texts("drop", drop),
        group=None if group_column is None else _text("group_column", group_column),
        weight=None if weight is None else _text("weight", weight),
    )
    names = None if columns is None else _texts("columns", columns)
    reading = Reading(pattern, separator, header, names)
    source = open_source(path, reading, validation_path, test_path)
    options = Options(
        positive=None if positive is None else _value("positive", positive),
        nulls=tuple(_value("nulls", null) for null in _listed("nulls", nulls)),
        split=split,
        split_seed=None if split == "time" else split_seed,
        min_count=min_count,
        boundaries=boundaries,
        hash_buckets=hash_buckets,
        numeric_transform=numeric_transform,
    )
    return load_table(source, asked, options, validation_rows, order)


def load_table(
    source: Source, asked: Asked, options: Options, validation_rows: int, order: str
) -> Dataset:
    """The data set of a table: read from the cache, or prepared now.

    Raises
    ------
    DataError
        See `load`.
    """
    check_integer("validation_rows", validation_rows, _FEWEST_ROWS)
    if order not in ORDERS:
        raise DataError(f"order is {order!r}", f"choose {' or '.join(ORDERS)}")
    key = _key(source, asked, options)

    def prepare(scratch: Path) -> Prepared:
        prepared = _prepared(source, asked, options, scratch)
        if _key(source, asked, options) != key:
            raise DataError(f"{source.path} was changed while it was read", "start again")
        return prepared

    dataset = cached_arrays("table", key, prepare)
    assert isinstance(dataset.train, ArrayStream)
    stream = ArrayStream(dataset.train.samples, order)
    return replace(dataset, train=stream, validation_rows=validation_rows)


def _key(source: Source, asked: Asked, options: Options) -> str:
    """The key of the arrays in the cache, for the present content of the file."""
    several = len(source.files) > 1
    parameters: dict[str, Any] = {
        **vars(options),
        **vars(asked),
        "loader": "table",
        "format": [file.format for file in source.files] if several else source.files[0].format,
        "separator": source.separator,
        "names": source.names,
        "splits": source.splits,
    }
    # Options that came later have no part in it until they are used, so that keys stay.
    for name, unused in _LATER.items():
        if parameters[name] == unused:
            del parameters[name]
    try:
        return content_key(source.paths, parameters)
    except OSError as error:
        raise DataError(
            f"cannot read {source.path}: {error}", "check the permissions of the file"
        ) from error


def _prepared(source: Source, asked: Asked, options: Options, scratch: Path) -> Prepared:
    """Read the file and encode it."""
    import polars as pl

    try:
        return Preparation(source, asked, options, scratch).prepared()
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"cannot read the values of {source.path}: {reason}",
            "leave the column out (dataset.drop=[...]) or store it as numbers or text",
        ) from error
    except OSError as error:
        raise DataError(
            f"cannot write the columns of {source.path}: {error}",
            "make room, or name another folder for prepared data: BSSCALE_CACHE_DIR",
        ) from error


def check_options(
    min_count: int,
    hash_buckets: int | None,
    numeric_transform: str,
    split: str,
    validation_path: object,
) -> None:
    """Raise DataError for values that no file could make right."""
    check_integer("min_count", min_count, 1)
    if numeric_transform not in TRANSFORMS:
        raise DataError(
            f"numeric_transform is {numeric_transform!r}", f"choose {' or '.join(TRANSFORMS)}"
        )
    if hash_buckets is not None:
        check_integer("hash_buckets", hash_buckets, 2, _MOST_IDS)
        if min_count > 1:
            raise DataError(
                f"min_count={min_count} needs a vocabulary, and hash_buckets={hash_buckets} makes "
                "ids without one",
                "give one of them",
            )
    if validation_path is not None and split != "random":
        raise DataError(
            f"split={split}, but the files of validation and test are given",
            "leave out dataset.split, or dataset.validation_path and dataset.test_path",
        )


def _check_roles(split: str, time_column: object, group_column: object) -> None:
    """Raise DataError for a split without its column, or a column without its split."""
    if split == "time" and time_column is None:
        raise DataError(
            "split=time has no time_column", "name the column with the time: time_column=..."
        )
    if split == "group" and group_column is None:
        raise DataError(
            "split=group has no group_column",
            "name the column whose rows stay together: dataset.group_column=user",
        )
    if split != "group" and group_column is not None:
        raise DataError(
            f"group_column is {group_column!r}, but split={split} does not use it",
            "give dataset.split=group, or leave dataset.group_column out",
        )


def _boundaries(split: str, validation_from: object, test_from: object) -> tuple[str, str] | None:
    """The times at which validation and test begin, as text."""
    given = {"validation_from": validation_from, "test_from": test_from}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == 2:
        return None
    if missing:
        raise DataError(
            f"{missing[0]} is not given, but the other boundary is",
            "give dataset.validation_from and dataset.test_from, or neither",
        )
    if split != "time":
        raise DataError(
            f"validation_from and test_from are given, but split={split} does not use them",
            "add dataset.split=time dataset.time_column=...",
        )
    return _value("validation_from", validation_from), _value("test_from", test_from)


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
