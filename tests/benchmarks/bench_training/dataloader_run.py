"""One training run, as a script of plain PyTorch does it: the yardstick of whole studies.

    python -m tests.benchmarks.bench_training.data PATH.npz
    python -m tests.benchmarks.bench_training.dataloader_run --data PATH.npz \\
        --steps 5000 --micro-batch 64 --eval-every 500

Trains the benchmark's model for `steps` steps on a shuffling DataLoader and prints the ROC AUC of
the validation rows every `eval-every` steps. What it costs is the whole process, from outside:

    perf stat -e task-clock python -m tests.benchmarks.bench_training.dataloader_run ...
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

from tests.benchmarks.bench_training.data import with_offsets
from tests.benchmarks.bench_training.model import build_model, build_optimizer


def read(path: Path) -> tuple[TensorDataset, TensorDataset]:
    """Training and validation rows."""
    with np.load(path) as file:
        train, valid = (
            TensorDataset(
                torch.from_numpy(with_offsets(file[f"{part}_ids"])),
                torch.from_numpy(file[f"{part}_label"]),
            )
            for part in ("train", "valid")
        )
    return train, valid


@torch.no_grad()
def evaluate(model: nn.Module, batches: DataLoader[tuple[Tensor, ...]]) -> float:
    model.eval()
    logits, labels = zip(*((model(ids), label) for ids, label in batches), strict=True)
    model.train()
    return float(roc_auc_score(torch.cat(labels), torch.cat(logits)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train one run on a DataLoader.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--micro-batch", type=int, default=64)
    parser.add_argument("--eval-every", type=int, default=500)
    options = parser.parse_args()

    train, valid = read(options.data)
    train_batches = DataLoader(train, batch_size=options.micro_batch, shuffle=True)
    valid_batches = DataLoader(valid, batch_size=4096)
    model = build_model()
    optimizer = build_optimizer(model)
    step = 0
    while step < options.steps:
        for ids, label in train_batches:
            optimizer.zero_grad(set_to_none=True)
            binary_cross_entropy_with_logits(model(ids), label).backward()
            optimizer.step()
            step += 1
            if step % options.eval_every == 0:
                print(f"step {step:>6}  AUC {evaluate(model, valid_batches):.4f}")
            if step == options.steps:
                break


if __name__ == "__main__":
    main()
