"""At which updates a run measures its gradient noise scale."""

from __future__ import annotations

from bsscale.errors import ConfigError

__all__ = ["MICRO_BATCHES", "measured_steps"]

# Micro-batches of one window: b is one of them, B is all.
MICRO_BATCHES = 8
MOST_WINDOWS = 50
# The most extra micro-batches, in per cent of those of the budget.
MOST_PERCENT = 4


def measured_steps(budget_samples: int, micro_batch: int, steps: int) -> tuple[int, ...]:
    """The updates before which a window is measured, in the middle of equal parts of the budget.

    Parameters
    ----------
    budget_samples, steps
        The budget, in samples and in updates.
    micro_batch
        Samples of a micro-batch.

    Returns
    -------
    Numbers of updates, from 0, ascending: at most 50, and so few that eight micro-batches for each
    of them are at most 4% of the budget's.

    Raises
    ------
    ConfigError
        If the budget is too small for one window.

    Examples
    --------
    >>> measured_steps(128 * 1000, 128, 1000)
    (100, 300, 500, 700, 900)
    """
    micro_batches = budget_samples // micro_batch
    windows = min(MOST_WINDOWS, steps, micro_batches * MOST_PERCENT // (100 * MICRO_BATCHES))
    if windows < 1:
        least = 100 * MICRO_BATCHES // MOST_PERCENT
        raise ConfigError(
            f"noise_scale=true with a budget of {micro_batches:,} micro-batches: one measurement "
            f"takes {MICRO_BATCHES} more, which is above {MOST_PERCENT}% of them",
            f"train for at least {least} micro-batches (budget_samples={least * micro_batch}), or "
            "leave noise_scale out",
        )
    return tuple((2 * window + 1) * steps // (2 * windows) for window in range(windows))
