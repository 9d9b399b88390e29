"""At which updates a run measures its gradient noise scale."""

from __future__ import annotations

from dataclasses import dataclass

from bsscale.errors import ConfigError

__all__ = ["MICRO_BATCHES", "Passes", "measured_steps"]

# Micro-batches of one window: b is one of them, B is all.
MICRO_BATCHES = 8
MOST_WINDOWS = 50
# The most that all windows add: of the micro-batches of the budget, and of the cost of its updates.
MOST_PERCENT = 4
MOST_COST_PERCENT = 5
# In the cost of a sample of a large batch (DLRM on flights, one core): what an update of layers
# costs beside its samples, what a sample of a window costs in layers, and what a pass of torch's
# autograd costs beside its samples.
_UPDATE_SAMPLES = 200
_WINDOW_FACTOR = 1.6
_PASS_SAMPLES = 256


@dataclass(frozen=True)
class Passes:
    """How a run makes its forward and backward passes.

    A large batch costs less than its samples in small ones: it makes few passes, and one sum of
    gradients. Adding gradients over processes costs about as much as a pass.

    Attributes
    ----------
    of_update
        Passes of one process in an update.
    samples
        Of each of these passes.
    processes
        That share the micro-batches of a window.
    layers
        Whether layers make one pass for all micro-batches of a window; else torch's autograd makes
        one for each.
    """

    of_update: int
    samples: int
    processes: int = 1
    layers: bool = False

    def windows_cost(self, micro_batch: int) -> float:
        """What a window costs, in updates."""
        if self.layers:
            update = _UPDATE_SAMPLES + self.of_update * self.samples
            return _WINDOW_FACTOR * MICRO_BATCHES * micro_batch / update
        own = -(-MICRO_BATCHES // self.processes) + (self.processes > 1)
        update = self.of_update * (_PASS_SAMPLES + self.samples)
        return own * (_PASS_SAMPLES + micro_batch) / update


def measured_steps(
    budget_samples: int, micro_batch: int, steps: int, passes: Passes
) -> tuple[int, ...]:
    """The updates before which a window is measured, in the middle of equal parts of the budget.

    Parameters
    ----------
    budget_samples, steps
        The budget, in samples and in updates.
    micro_batch
        Samples of a micro-batch.
    passes
        How the run is trained.

    Returns
    -------
    Numbers of updates, from 0, ascending: at most 50, and so few that eight micro-batches for each
    of them are at most 4% of the budget's, and cost at most 5% of its updates.

    Raises
    ------
    ConfigError
        If the budget is too small for one window.

    Examples
    --------
    >>> measured_steps(128 * 1000, 128, 1000, Passes(1, 128, layers=True))
    (100, 300, 500, 700, 900)
    """
    micro_batches = budget_samples // micro_batch
    least = 100 * MICRO_BATCHES // MOST_PERCENT * micro_batch
    windows = min(MOST_WINDOWS, steps, micro_batches * MOST_PERCENT // (100 * MICRO_BATCHES))
    cost = 100 / MOST_COST_PERCENT * passes.windows_cost(micro_batch)
    windows = min(windows, int(steps / cost))
    least = max(least, -(-budget_samples // steps) * -int(-cost // 1))
    if windows < 1:
        raise ConfigError(
            f"noise_scale=true with a budget of {budget_samples:,} samples in {steps:,} updates: "
            "one measurement would cost too much of them",
            f"train for longer (budget_samples={least}), or leave noise_scale out",
        )
    return tuple((2 * window + 1) * steps // (2 * windows) for window in range(windows))
