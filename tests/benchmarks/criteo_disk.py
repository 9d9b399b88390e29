"""Training from prepared data that are not in memory, and the two orders of training rows.

    python -m tests.benchmarks.criteo_disk cold train.txt
    python -m tests.benchmarks.criteo_disk orders train.txt --samples 700000

``cold`` trains a DLRM (embeddings of 16 numbers, SGD without momentum, batches of 128, one thread)
in both orders, once with the file of the cache in memory, and once after its pages have been
evicted (posix_fadvise, checked with mincore), and prints samples/s and RssAnon of the process, in
`--rounds` rounds, and the medians of the ratios of a round. ``orders`` trains 10 seeds in each
order from the same initial weights, and prints the mean difference of the AUC of 100,000 validation
rows, the mean of the last five of evaluations every 50,000 samples, with its 95% interval
(Student's t). It trains a DeepFM (embeddings of 4 numbers, rate 0.3): of the settings that were
tried, in the order "permutation" alone, the seeds differ least with it (after 500,000 samples by
0.0004; with a rate of 0.1 by 0.0026, and a DLRM's with 0.1 by 0.0046 after 700,000). The file is
prepared in the user's cache if it is not there yet.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t

from bsscale.config import Config
from bsscale.data import ArrayStream, Dataset, load_dataset
from bsscale.engines.stacked import StackedEngine
from bsscale.files.mapped import MappedFile, mapped_file
from bsscale.objectives.binary import roc_auc
from bsscale.optimizers import SGDConfig
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from tests.helpers import MODELS, changed, small_config

SEEDS = 10
# The AUC of a run is the mean of its last evaluations, with so many samples between two.
EVALUATIONS, INTERVAL = 5, 50_000
PAGE = mmap.PAGESIZE


def prepared(
    path: Path, model: str, dim: int, order: str = "permutation", base_lr: float = 0.1
) -> tuple[Plan, Dataset]:
    """The plan of a run, and its data."""
    source: dict[str, Any] = {"_target_": "bsscale.data.criteo.load", "name": "criteo"}
    config: Config = small_config(
        model={**MODELS[model], "embedding_dim": dim}, micro_batch=128, base_lr=base_lr,
        optimizer=SGDConfig(momentum=0.0), dataset={**source, "path": str(path), "order": order},
    )  # fmt: skip
    dataset = load_dataset(config.dataset)
    return make_plan(config, dataset.samples_per_pass, Devices(cuda=0), dataset.key), dataset


def resident_share(mapped: MappedFile) -> float:
    """The share of a file's pages that are in the page cache."""
    pages = -(-len(mapped) // PAGE)
    found = (ctypes.c_ubyte * pages)()
    address = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
    ctypes.CDLL(None).mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(mapped)), found)
    return sum(each & 1 for each in bytes(found)) / pages


def anonymous_gib() -> float:
    """RssAnon of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("RssAnon")]
    return int(line.split()[1]) / 2**20


def train(engine: StackedEngine, updates: int) -> None:
    """Take so many updates."""
    while updates:
        some = min(updates, engine.updates_at_once)
        engine.advance(some)
        updates -= some


def cold(path: Path, samples: int, rounds: int) -> None:
    """Warm and cold, in both orders."""
    orders = ("permutation", "blocks")
    speeds = [
        {(order, is_cold): speed(path, order, is_cold, samples) for order in orders
         for is_cold in (False, True)}
        for _ in range(rounds)
    ]  # fmt: skip
    for order in orders:
        ratios = [each[order, True] / each[order, False] for each in speeds]
        print(f"{order}: cold / warm {statistics.median(ratios):.2f} ({_listed(ratios)})")
    ratios = [each["blocks", True] / each["permutation", False] for each in speeds]
    print(f"blocks cold / permutation warm {statistics.median(ratios):.2f} ({_listed(ratios)})")


def speed(path: Path, order: str, is_cold: bool, samples: int) -> float:
    """Samples/s of a run whose data are in memory, or on the disk alone."""
    plan, dataset = prepared(path, "dlrm", 16, order)
    engine = StackedEngine(plan, dataset)
    engine.begin(0, plan)
    train(engine, 8)
    assert isinstance(dataset.train, ArrayStream)
    mapped = mapped_file(dataset.train.samples.categorical)
    assert mapped is not None
    if is_cold:
        os.sync()
        mapped.forget()
        os.posix_fadvise(mapped.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    else:
        dataset.verify()
    share, wall, cpu = resident_share(mapped), time.perf_counter(), time.process_time()
    train(engine, samples // 128)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"{order:>11}, {100 * share:3.0f}% in memory: {samples / wall:,.0f} samples/s, "
        f"{samples / cpu:,.0f} of CPU time; RssAnon {anonymous_gib():.2f} GiB",
        flush=True,
    )
    return samples / wall


def _listed(ratios: list[float]) -> str:
    return ", ".join(f"{ratio:.2f}" for ratio in ratios)


def orders(path: Path, samples: int) -> None:
    """The difference of the AUC of both orders."""
    plan, dataset = prepared(path, "deepfm", 4, base_lr=0.3)
    held_out, differences = dataset.evaluated, []
    assert isinstance(dataset.train, ArrayStream)
    for seed in range(SEEDS):
        found, initial = {}, {}
        for order in ("permutation", "blocks"):
            stream = ArrayStream(dataset.train.samples, order)
            engine = StackedEngine(plan, replace(dataset, train=stream))
            engine.begin(0, changed(plan, seed=seed))
            initial[order] = engine.score(held_out[:1000])[0]
            train(engine, (samples - EVALUATIONS * INTERVAL) // 128)
            aucs = []
            for _ in range(EVALUATIONS):
                train(engine, INTERVAL // 128)
                aucs.append(roc_auc(held_out.label, engine.score(held_out)[0]))
            found[order] = float(np.mean(aucs))
        assert np.array_equal(*initial.values())
        differences.append(found["blocks"] - found["permutation"])
        half = 0.0
        if seed:
            half = t.ppf(0.975, seed) * np.std(differences, ddof=1) / np.sqrt(seed + 1)
        print(
            f"seed {seed}: AUC {found['permutation']:.4f} and {found['blocks']:.4f}; blocks less "
            f"permutation {np.mean(differences):+.5f} ± {half:.5f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("do", choices=["cold", "orders"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--samples", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.do == "cold":
        cold(given.path, given.samples, given.rounds)
    else:
        orders(given.path, given.samples)


if __name__ == "__main__":
    main()
