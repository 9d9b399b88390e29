"""Checks of the arrays of a loader against its schema."""

from __future__ import annotations

import numpy as np

from bsscale.data.dataset import ArrayStream, Dataset, Samples, Schema
from bsscale.errors import DataError

__all__ = ["check_dataset", "check_ids"]

# Samples of an endless stream that are checked.
FIRST_SAMPLES = 1024
# Rows that are checked together: they fit in a cache, also for arrays on disk.
ROWS = 1 << 16


def check_dataset(dataset: Dataset) -> None:
    """Raise DataError for arrays that do not fit the schema; of a stream, for its first samples.

    Arrays from the cache, which have a key, were checked before they were written there.
    """
    if dataset.prepared_key is not None:
        return
    train = dataset.train
    if isinstance(train, ArrayStream):
        first = train.samples
    else:
        first = train.read(0, 0, min(FIRST_SAMPLES, train.samples_per_pass))
    for split, samples in (
        ("train", first),
        ("validation", dataset.validation),
        ("test", dataset.test),
    ):
        _check_shapes(split, samples, dataset.schema)
        check_ids(split, samples, dataset.schema)
        _check_weights(split, samples, dataset.is_weighted)


def _check_shapes(split: str, samples: Samples, schema: Schema) -> None:
    for name, array, fields in (
        ("categorical", samples.categorical, schema.categorical),
        ("numeric", samples.numeric, schema.numeric),
    ):
        if array.shape != (len(samples), len(fields)):
            raise DataError(
                f"{split}.{name} has shape {array.shape}, and the schema has {len(fields)} "
                f"{name} fields",
                f"give {name} the shape (samples, fields), {(len(samples), len(fields))} here",
            )
    if samples.categorical.dtype != np.int32:
        raise DataError(
            f"{split}.categorical has numbers of type {samples.categorical.dtype}, not int32",
            "give ids as integers: categorical.astype(np.int32)",
        )


def _check_weights(split: str, samples: Samples, expected: bool) -> None:
    """Raise DataError for weights that are missing, negative, not finite, or all 0."""
    weight = samples.weight
    if (weight is not None) != expected:
        some, others = ("has", "validation") if weight is not None else ("validation has", split)
        raise DataError(
            f"{split + ' has' if some == 'has' else some} weights, and {others} has none",
            "give weights for all splits, or for none",
        )
    if weight is not None and not (np.isfinite(weight).all() and weight.min() >= 0 < weight.max()):
        raise DataError(
            f"the weights of {split} are from {weight.min():g} to {weight.max():g}",
            "give finite weights of 0 or more, not all 0",
        )


def check_ids(split: str, samples: Samples, schema: Schema) -> None:
    """Raise DataError unless 0 <= id < cardinality for every id.

    A wrong id would be a row of another field's table. Outside all tables, a CPU raises an
    IndexError, and after CUDA's error no run of the process can go on.
    """
    if not len(samples) or not schema.categorical:
        return
    parts = [samples.categorical[start : start + ROWS] for start in range(0, len(samples), ROWS)]
    low = np.min([part.min(axis=0) for part in parts], axis=0)
    high = np.max([part.max(axis=0) for part in parts], axis=0)
    for name, cardinality, least, most in zip(
        schema.categorical, schema.cardinalities, low, high, strict=True
    ):
        if least < 0 or most >= cardinality:
            wrong = int(least if least < 0 else most)
            raise DataError(
                f"the categorical field {name} has the id {wrong} in {split}, and its cardinality "
                f"is {cardinality}",
                "ids are 0 ... cardinality - 1, and 0 means unknown: give the field a cardinality "
                "above its highest id, and no negative ids",
            )
