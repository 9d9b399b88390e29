"""A DCN-V2 of torch-rechub, a library of recommendation models, against bsscale's.

    pip install --no-deps torch-rechub==0.9.0
    python -m tests.benchmarks.criteo_libraries --ids 1000000 --batches 1024

Data, threads and times as in ``criteo_speed``: 26 + 13 fields, embeddings of 16 numbers, three
cross layers beside hidden layers of 64 and 64, SGD with momentum. torch-rechub has no DLRM, no
touched-row updates, and batch normalization in its hidden layers, which cannot be left out; bsscale
has none. Its batches are gathered from arrays as by hand; its own DataLoader would take longer.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from bsscale.data import ArrayStream, Dataset
from tests.benchmarks.criteo_speed import DIM, by_bsscale, clicks, cpu_s, updates_of_turn


def by_rechub(dataset: Dataset, batch: int) -> Callable[[], None]:
    """A turn of training."""
    from torch_rechub.basic.features import DenseFeature, SparseFeature
    from torch_rechub.models.ranking import DCNv2

    torch.manual_seed(0)
    schema = dataset.schema
    sparse = zip(schema.categorical, schema.cardinalities, strict=True)
    features: list[Any] = [SparseFeature(name, size, embed_dim=DIM) for name, size in sparse]
    features += [DenseFeature(name) for name in schema.numeric]
    hidden = {"dims": [64, 64], "activation": "relu", "dropout": 0.0}
    model = DCNv2(features, n_cross_layers=3, mlp_params=hidden, use_low_rank_mixture=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss = nn.BCELoss()
    assert isinstance(dataset.train, ArrayStream)
    samples = dataset.train.samples
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(samples)))
    arrays = [torch.from_numpy(each) for each in samples.arrays().values()]
    at = 0

    def train() -> None:
        nonlocal at
        for _ in range(updates_of_turn(dataset, batch, sparse=False)):
            rows = order[at : at + batch]
            at = (at + batch) % (len(order) - batch)
            categorical, numeric, label = (each[rows] for each in arrays)
            fields = dict(zip(schema.categorical, categorical.T, strict=True))
            fields |= dict(zip(schema.numeric, numeric.T, strict=True))
            optimizer.zero_grad()
            loss(model(fields), label).backward()
            optimizer.step()

    return train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ids", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| ids | batch | bsscale, samples/s | torch-rechub | time, bsscale / torch-rechub |")
    print("|---|---|---|---|---|")
    for ids in given.ids:
        dataset = clicks(ids)
        for batch in given.batches:
            ours, _, _ = by_bsscale(dataset, batch, sparse=False, model="dcnv2")
            theirs = by_rechub(dataset, batch)
            for warm in (ours, theirs):
                warm()
            pairs = [(cpu_s(ours), cpu_s(theirs)) for _ in range(given.times)]
            mine, hers = (statistics.median(each) for each in zip(*pairs, strict=True))
            ratios = [a / b for a, b in pairs]
            ratio = statistics.median(ratios)
            turn = batch * updates_of_turn(dataset, batch, sparse=False)
            print(
                f"| {ids:,} | {batch:,} | {turn / mine:,.0f} | {turn / hers:,.0f} "
                f"| {ratio:.2f} ± {max(abs(each - ratio) for each in ratios):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
