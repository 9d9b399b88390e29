"""What the choice of a rate by tuning adds to the error of all runs at a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["choice_variance"]

_DRAWS = 1000
# Rates that need this many times the samples of the best one are not chosen by chance.
_FAR = 3.0


def choice_variance(tried: Mapping[float, Sequence[float]], draws_seed: int = 0) -> float:
    """How far the samples at a batch lie above the best ones, because its rate was chosen by runs.

    A bootstrap over the tuning runs: in each draw, the level of each rate moves by the noise of its
    runs, and the rate with the fewest samples is chosen. What the chosen rate needs more than the
    one that was chosen is an error that all report runs of the batch share.

    Parameters
    ----------
    tried
        Samples to the target of the tuning runs, by rate; infinite for a run that did not reach
        it. A rate with such a run is not chosen.
    draws_seed
        Of the draws.

    Returns
    -------
    The mean square of that error on the log scale; 0 where the runs do not tell.
    """
    logs = [
        np.log(np.array(samples, dtype=np.float64))
        for samples in tried.values()
        if samples and all(map(math.isfinite, samples))
    ]
    if len(logs) < 2:
        return 0.0
    levels = np.array([each.mean() for each in logs])
    near = levels <= levels.min() + math.log(_FAR)
    counts = np.array([len(each) for each in logs])[near]
    squares = sum(
        float(((each - each.mean()) ** 2).sum()) for each, close in zip(logs, near, strict=True)
        if close
    )  # fmt: skip
    df = int((counts - 1).sum())
    if df < 1:
        return 0.0
    levels = levels[near]
    errors = np.random.default_rng(draws_seed).standard_normal((_DRAWS, len(levels)))
    drawn = levels + errors * np.sqrt(squares / df / counts)
    excess = levels[drawn.argmin(axis=1)] - levels.min()
    return float((excess**2).mean())
