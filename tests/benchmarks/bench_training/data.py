"""The rows that the benchmark trains on.

    python -m tests.benchmarks.bench_training.data PATH.npz

writes the larger, learnable data set of dataloader_run.
"""

from __future__ import annotations

import argparse
import functools
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Where `eager` and bsscale train; set by the option --device, also for the workers.
DEVICE = os.environ.get("BENCH_TRAINING_DEVICE", "cpu")

FIELDS = 10
CARDINALITY = 1000
ROWS = 100_000

Ids = NDArray[np.int64]
Labels = NDArray[np.float32]


@functools.cache
def rows() -> tuple[Ids, Labels]:
    """Random ids of shape (ROWS, FIELDS), each field's from 0, and random labels: 0 or 1."""
    rng = np.random.default_rng(0)
    ids = rng.integers(CARDINALITY, size=(ROWS, FIELDS))
    return ids, rng.integers(2, size=ROWS).astype(np.float32)


def with_offsets(ids: Ids) -> Ids:
    """Ids of the one table that holds the rows of all fields, one field after the other."""
    return ids + np.arange(FIELDS) * CARDINALITY


def write_learnable(path: Path, train: int = 400_000, valid: int = 20_000, seed: int = 0) -> None:
    """Write rows whose log odds are the sum of their ids' weights, which are random.

    Few ids of a field are frequent and most are rare, as in logs of clicks: the density of id k is
    proportional to k^(-2/3). The file has train_ids and valid_ids of shape (n, FIELDS), each
    field's from 0, and train_label and valid_label.
    """
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(FIELDS, CARDINALITY))
    ids = (CARDINALITY * rng.random((train + valid, FIELDS)) ** 3).astype(np.int64)
    logit = weight[np.arange(FIELDS), ids].sum(axis=1)
    label = (rng.random(len(ids)) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    np.savez(
        path,
        train_ids=ids[:train],
        train_label=label[:train],
        valid_ids=ids[train:],
        valid_label=label[train:],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the data set of dataloader_run.")
    parser.add_argument("path", type=Path)
    write_learnable(parser.parse_args().path)
