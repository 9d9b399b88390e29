"""How fast a DLRM of 26 + 13 fields trains on one thread, against a loop written by hand in torch.

    python -m tests.benchmarks.criteo_speed --ids 1000000 10000000 --batches 128 1024

Ids follow Zipf's law, as in tests/benchmarks/criteo.py; embeddings have 16 numbers. *Sparse*: SGD
without momentum, touched rows only (nn.Embedding(sparse=True) by hand). *Dense*: SGD with momentum,
bsscale's default. Both sides gather their batches from arrays in a random order. They are timed in
turn, `--times` times; a row has the medians of samples/s of CPU time, of their ratio of times, and
the most that one of these ratios differs from it.

*Evaluation*: scoring 100,000 rows and their AUC, apart, and as the share that it takes of a run
at the default interval. By hand: the module under inference_mode, and scikit-learn's AUC.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from bsscale.config import Config
from bsscale.data import Dataset, Samples, Schema
from bsscale.engines.stacked import StackedEngine
from bsscale.optimizers import SGDConfig
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from tests.helpers import MODELS, small_config

FIELDS, COUNTS, DIM = 26, 13, 16
TRAINING, EVALUATED = 400_000, 100_000
# Samples of a turn, and the most numbers that its updates write (all rows of large tables).
TURN, WRITTEN = 32_768, 10**9


def clicks(ids: int, rows: int = TRAINING) -> Dataset:
    """Rows with so many ids in all, in the proportions of Criteo's fields."""
    from tests.benchmarks.criteo import CARDINALITIES

    share = ids / sum(CARDINALITIES)
    cardinalities = [max(2, round(share * each)) for each in CARDINALITIES]
    rng = np.random.default_rng(0)

    def some(count: int) -> Samples:
        columns = [
            np.exp(rng.random(count) * np.log(each + 1)).astype(np.int64).clip(1, each) - 1
            for each in cardinalities
        ]
        numeric = rng.standard_normal((count, COUNTS), dtype=np.float32)
        label = (rng.random(count) < 0.26).astype(np.float32)
        return Samples(np.stack(columns, axis=1).astype(np.int32), numeric, label)

    names = tuple(f"C{number}" for number in range(FIELDS))
    counts = tuple(f"I{number}" for number in range(COUNTS))
    schema = Schema(names, tuple(cardinalities), counts)
    return Dataset.from_arrays(schema, some(rows), some(min(rows, EVALUATED)), some(1000))


class HandWritten(nn.Module):
    """A DLRM with one table, as one writes it."""

    def __init__(self, cardinalities: Sequence[int], sparse: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(sum(cardinalities), DIM, sparse=sparse)
        starts = np.cumsum([0, *cardinalities[:-1]])
        self.register_buffer("starts", torch.from_numpy(starts.astype(np.int32)))
        self.bottom = nn.Sequential(nn.Linear(COUNTS, 64), nn.ReLU(), nn.Linear(64, DIM), nn.ReLU())
        rows, columns = torch.tril_indices(FIELDS + 1, FIELDS + 1, offset=-1)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)
        self.top = nn.Sequential(
            nn.Linear(len(rows) + DIM, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, 1),
        )

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        dense = self.bottom(numeric)
        vectors = torch.cat([dense.unsqueeze(1), self.table(categorical + self.starts)], dim=1)
        dots = torch.bmm(vectors, vectors.transpose(1, 2))[:, self.rows, self.columns]
        logits: Tensor = self.top(torch.cat([dense, dots], dim=1)).squeeze(1)
        return logits


def updates_of_turn(dataset: Dataset, batch: int, sparse: bool) -> int:
    """How many updates are timed together."""
    numbers = 1 if sparse else DIM * sum(dataset.schema.cardinalities)
    return max(4, min(TURN // batch, WRITTEN // numbers))


def by_hand(
    dataset: Dataset, batch: int, sparse: bool
) -> tuple[Callable[[], None], Callable[[], None]]:
    """A turn of training, and an evaluation."""
    torch.manual_seed(0)
    model = HandWritten(dataset.schema.cardinalities, sparse)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.0 if sparse else 0.9)
    samples = dataset.train.samples  # type: ignore[attr-defined]
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(samples)))
    arrays = [torch.from_numpy(each) for each in vars(samples).values() if each is not None]
    held_out = [torch.from_numpy(each) for each in dataset.validation.arrays().values()]
    at = 0

    def train() -> None:
        nonlocal at
        for _ in range(updates_of_turn(dataset, batch, sparse)):
            rows = order[at : at + batch]
            at = (at + batch) % (len(order) - batch)
            categorical, numeric, label = (each[rows] for each in arrays)
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(model(categorical, numeric), label).backward()
            optimizer.step()

    @torch.inference_mode()
    def evaluate() -> None:
        categorical, numeric, label = held_out
        parts = [
            model(categorical[start : start + 4096], numeric[start : start + 4096])
            for start in range(0, len(label), 4096)
        ]
        roc_auc_score(label.numpy(), torch.cat(parts).numpy())

    return train, evaluate


def by_bsscale(
    dataset: Dataset, batch: int, sparse: bool, model: str = "dlrm"
) -> tuple[Callable[[], None], Callable[[], None], Plan]:
    """A turn of training, an evaluation, and the plan."""
    config: Config = small_config(
        model={**MODELS[model], "embedding_dim": DIM}, micro_batch=batch, budget_samples=10**7,
        optimizer=SGDConfig(momentum=0.0 if sparse else 0.9), eval_interval_samples=None,
    )  # fmt: skip
    plan = make_plan(config, TRAINING, Devices(cuda=0), evaluated_rows=EVALUATED)
    assert plan.training_step == "layers"
    engine = StackedEngine(plan, dataset)
    engine.begin(0, plan)

    def train() -> None:
        left = updates_of_turn(dataset, batch, sparse)
        while left:
            some = min(left, engine.updates_at_once)
            engine.advance(some)
            left -= some
        engine.take_train_loss(0)

    def evaluate() -> None:
        engine.evaluate(dataset.validation).metrics(0, plan.objective)

    return train, evaluate, plan


def cpu_s(action: Callable[[], None]) -> float:
    """CPU seconds of a call."""
    began = time.process_time()
    action()
    return time.process_time() - began


def compare(ids: int, batch: int, sparse: bool, times: int) -> str:
    """A row of the table."""
    dataset = clicks(ids)
    ours, our_evaluation, plan = by_bsscale(dataset, batch, sparse)
    theirs, their_evaluation = by_hand(dataset, batch, sparse)
    for warm in (ours, theirs):
        warm()
    pairs = [(cpu_s(ours), cpu_s(theirs)) for _ in range(times)]
    evaluations = [(cpu_s(our_evaluation), cpu_s(their_evaluation)) for _ in range(3)]
    ratios = [a / b for a, b in pairs]
    mine, hand = (statistics.median(each) for each in zip(*pairs, strict=True))
    evaluation, by_sklearn = (statistics.median(each) for each in zip(*evaluations, strict=True))
    turn = batch * updates_of_turn(dataset, batch, sparse)
    interval_s = plan.eval_interval_samples / turn * mine
    ratio = statistics.median(ratios)
    return " | ".join(
        [
            f"| {ids:,}",
            "sparse" if sparse else "dense",
            f"{batch:,}",
            f"{turn / mine:,.0f}",
            f"{turn / hand:,.0f}",
            f"{ratio:.2f} ± {max(abs(each - ratio) for each in ratios):.2f}",
            f"{evaluation:.2f} / {by_sklearn:.2f}",
            f"{evaluation / (evaluation + interval_s):.3f}",
            f"{(evaluation + interval_s) / (by_sklearn + interval_s / ratio):.2f} |",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ids", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--forms", nargs="+", default=["sparse", "dense"])
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| ids | updates | batch | bsscale, samples/s | by hand | time, bsscale / by hand "
        "| evaluation, s | share | both together |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for ids in given.ids:
        for form in given.forms:
            for batch in given.batches:
                print(compare(ids, batch, form == "sparse", given.times), flush=True)
                gc.collect()


if __name__ == "__main__":
    main()
