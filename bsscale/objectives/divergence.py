"""Detection of divergence, as opposed to slow training."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["DivergenceDetector"]


class DivergenceDetector:
    """Watches the evaluations of one run.

    A run has diverged when a loss is not finite, or when for several evaluations in a row the
    validation loss is above that of a constant prediction and no lower than it has been, while
    the metric that tells skill from chance, where there is one, is at chance: such a model predicts
    worse than a constant and does not improve. A run that starts slowly has a falling loss, so it
    is not detected.

    Parameters
    ----------
    loss
        Name of the metric that is the validation loss.
    loss_at_chance
        The loss of the best constant prediction.
    chance_words
        What that loss is, for the reason.
    skill
        Name of a metric of which higher values are better, the value up to which a model counts as
        chance, and the name in sentences; None if the loss alone decides.
    patience
        Number of consecutive evaluations before a run counts as diverged.
    """

    def __init__(
        self,
        loss: str,
        loss_at_chance: float,
        chance_words: str,
        skill: tuple[str, float, str] | None = None,
        patience: int = 5,
    ) -> None:
        self.loss, self.loss_at_chance, self.chance_words = loss, loss_at_chance, chance_words
        self.skill, self.patience = skill, patience
        self._in_a_row = 0
        self._lowest_loss = math.inf

    def reason(self, metrics: Mapping[str, float | None], train_loss: float | None) -> str | None:
        """Why the run counts as diverged after this evaluation; None if it does not.

        Parameters
        ----------
        metrics
            The values of the evaluation by name; None where one is not defined.
        train_loss
            Mean training loss since the last evaluation; None before the first update.
        """
        value = metrics[self.loss]
        loss = math.nan if value is None else value
        improved = loss < self._lowest_loss
        self._lowest_loss = min(loss, self._lowest_loss)
        if train_loss is None:  # an untrained model may well be worse than a constant
            return None
        if not math.isfinite(train_loss):
            return "non-finite training loss"
        if not math.isfinite(loss):
            return "non-finite validation loss"
        lost = loss > self.loss_at_chance and not improved and self._at_chance(metrics)
        self._in_a_row = self._in_a_row + 1 if lost else 0
        if self._in_a_row < self.patience:
            return None
        skill = "" if self.skill is None else f" with {self.skill[2]} at chance"
        return (
            f"validation loss above {self.chance_words} ({self.loss_at_chance:.4f}){skill} for "
            f"{self.patience} evaluations"
        )

    def _at_chance(self, metrics: Mapping[str, float | None]) -> bool:
        if self.skill is None:
            return True
        name, bound, _ = self.skill
        value = metrics[name]
        return value is None or value < bound
