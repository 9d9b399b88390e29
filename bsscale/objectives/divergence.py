"""When a training run has diverged: not merely slow, and not coming back."""

from __future__ import annotations

import math

__all__ = ["DivergenceDetector"]


class DivergenceDetector:
    """Watches the evaluations of one run.

    A run has diverged when a loss is not finite, or when for several evaluations in a row the
    validation loss is above the label's entropy (the loss of a constant prediction of the base
    rate) and no lower than it has been, while the AUC is no better than chance: it then knows
    less than a constant and learns nothing. A run that only starts slowly has a falling loss.

    Parameters
    ----------
    label_entropy
        Entropy of the validation labels, in nats.
    chance_auc_bound
        AUC below which a curve is not told apart from chance.
    patience
        Evaluations in a row that it takes.
    """

    def __init__(self, label_entropy: float, chance_auc_bound: float, patience: int = 5) -> None:
        self.label_entropy = label_entropy
        self.chance_auc_bound = chance_auc_bound
        self.patience = patience
        self._in_a_row = 0
        self._lowest_loss = math.inf

    def reason(self, loss: float, train_loss: float | None, auc: float | None) -> str | None:
        """Why the run counts as diverged after this evaluation; None if it does not.

        Parameters
        ----------
        loss
            Validation loss, in nats.
        train_loss
            Mean training loss since the last evaluation; None before the first update.
        auc
            Validation AUC; None where it is not defined.
        """
        improved = loss < self._lowest_loss
        self._lowest_loss = min(loss, self._lowest_loss)
        if train_loss is None:  # an untrained model may well be worse than a constant
            return None
        if not math.isfinite(train_loss):
            return "non-finite training loss"
        if not math.isfinite(loss):
            return "non-finite validation loss"
        at_chance = auc is None or auc < self.chance_auc_bound
        lost = loss > self.label_entropy and at_chance and not improved
        self._in_a_row = self._in_a_row + 1 if lost else 0
        if self._in_a_row < self.patience:
            return None
        return (
            f"validation loss above the label's entropy ({self.label_entropy:.4f}) with AUC at "
            f"chance for {self.patience} evaluations"
        )
