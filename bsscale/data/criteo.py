"""Data in the format of Criteo's challenges: a label, 13 counts and 26 hexadecimal ids."""

from __future__ import annotations

from collections.abc import Sequence

from bsscale.data.dataset import Dataset
from bsscale.data.encode import check_split
from bsscale.data.evaluated import MOST_ROWS
from bsscale.data.table.loading import check_options, load_table
from bsscale.data.table.open_source import Reading, open_source
from bsscale.data.table.preparation import Options
from bsscale.data.table.roles import Asked

__all__ = ["COUNTS", "IDS", "load"]

COUNTS = tuple(f"I{number}" for number in range(1, 14))
IDS = tuple(f"C{number}" for number in range(1, 27))


def load(
    path: str | Sequence[str],
    pattern: str | None = None,
    split: str = "random",
    split_seed: int = 0,
    validation_path: str | Sequence[str] | None = None,
    test_path: str | Sequence[str] | None = None,
    min_count: int = 1,
    hash_buckets: int | None = None,
    numeric_transform: str = "log1p",
    validation_rows: int = MOST_ROWS,
    order: str = "permutation",
) -> Dataset:
    """Prepare a file of tab-separated rows without a header, as the loader of tables does.

    Parameters
    ----------
    path, pattern, validation_path, test_path, min_count, hash_buckets, numeric_transform
        See `bsscale.data.table.load`.
    split
        "random": 80/10/10 by `split_seed`. "time": the first 80% of the rows train, the next 10%
        validate, the last 10% test; Criteo's rows are in the order of time.
    split_seed
        The seed of the random split; the time split does not use it.
    validation_rows, order
        See `bsscale.data.table.load`.

    Raises
    ------
    DataError
        If a file is missing, or cannot be read without guessing.
    """
    check_split(split, split_seed)
    check_options(min_count, hash_buckets, numeric_transform, split, validation_path)
    columns = ("label", *COUNTS, *IDS)
    reading = Reading(pattern, "tab", header=False, columns=columns, otherwise=".tsv")  # (day_0.gz)
    return load_table(
        open_source(path, reading, validation_path, test_path),
        Asked("label", time=None, categorical=IDS, numeric=COUNTS, drop=()),
        Options(
            positive=None,
            nulls=(),
            split=split,
            split_seed=None if split == "time" else split_seed,
            min_count=min_count,
            hash_buckets=hash_buckets,
            numeric_transform=numeric_transform,
        ),
        validation_rows,
        order,
    )
