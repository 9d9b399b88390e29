"""An exponential moving average of the weights, which is evaluated in their place."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bsscale.errors import ConfigError

__all__ = ["WeightAverage"]


@dataclass(frozen=True)
class WeightAverage:
    """a₁ = θ₁; a_t = d·a_{t−1} + (1 − d)·θ_t, with d = 2^(−B / h) after update t of a batch B.

    This is torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(d), updated after every
    update. Before the first update it is the initial weights. Its half-life h is in samples, so
    that it is the same at every batch.

    Attributes
    ----------
    half_life_samples
        h, at least 1.
    """

    half_life_samples: int

    @classmethod
    def of(
        cls, half_life_samples: int | None, global_batch: int, budget_samples: int
    ) -> WeightAverage | None:
        """The average of a run; None if none is asked for.

        Raises
        ------
        ConfigError
            For a half-life with which the average would be the last weights, or the first ones.
        """
        if half_life_samples is None:
            return None
        key = f"ema_half_life_samples={half_life_samples}"
        example = max(1, min(budget_samples // 10, 100 * global_batch))
        remedy = f"give a number of samples, such as {example}, or null"
        if half_life_samples < 1:
            raise ConfigError(f"{key} is below 1", remedy)
        if half_life_samples > budget_samples:
            raise ConfigError(
                f"{key} is longer than the budget of {budget_samples:,} samples, so that the "
                "average would remain close to the first weights",
                remedy,
            )
        average = cls(half_life_samples)
        if average.weight(1, global_batch) == 1.0:
            raise ConfigError(
                f"{key} is so short beside a global batch of {global_batch:,} samples that the "
                "average is the weights themselves",
                remedy,
            )
        return average

    def weight(self, step: int, global_batch: int) -> float:
        """The weight of the parameters after update `step` (from 0): 1 − d, and 1 of the first."""
        if step == 0:
            return 1.0
        return -math.expm1(-math.log(2) * global_batch / self.half_life_samples)
