"""Exact ROC AUC: scikit-learn's against bsscale's, side by side.

    python tests/benchmarks/bench_roc_auc.py

Prints the median time of interleaved calls, so that a machine that slows down slows both. Scores
are logits of a model that is somewhat better than chance, at 25% positives: continuous ones as
float32 and float64, and coarse ones (a hundred levels), in which nearly every score is tied.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bsscale.objectives.binary import roc_auc

SIZES = (10_000, 100_000, 1_000_000)
SECONDS = 2.0


def seconds(call: Callable[[], float]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(label: NDArray[np.int64], score: NDArray[Any]) -> tuple[float, float, float]:
    """Median seconds of both, and how far apart the results are."""
    theirs: list[float] = []
    ours: list[float] = []
    difference = abs(roc_auc_score(label, score) - roc_auc(label, score))
    while sum(theirs) < SECONDS or len(theirs) < 5:
        theirs.append(seconds(lambda: roc_auc_score(label, score)))
        ours.append(seconds(lambda: roc_auc(label, score)))
    return statistics.median(theirs), statistics.median(ours), difference


def main() -> None:
    rng = np.random.default_rng(0)
    print(f"{'samples':>9}  {'scores':<16}{'sklearn':>11}{'bsscale':>11}{'faster':>8}  difference")
    for n in SIZES:
        label = (rng.random(n) < 0.25).astype(np.int64)
        logit = rng.normal(size=n) + label
        scores: dict[str, NDArray[Any]] = {
            "float32": logit.astype(np.float32),
            "float64": logit,
            "float32, tied": np.round(logit * 15).astype(np.float32),
        }
        for name, score in scores.items():
            theirs, ours, difference = compare(label, score)
            print(
                f"{n:>9}  {name:<16}{theirs * 1e3:>8.2f} ms{ours * 1e3:>8.2f} ms"
                f"{theirs / ours:>7.1f}x  {difference:.1e}"
            )


if __name__ == "__main__":
    main()
