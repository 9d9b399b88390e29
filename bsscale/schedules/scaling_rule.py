"""Scaling rules: how hyperparameters change with the batch, for all parameters or for a group.

A rule changes hyperparameters that were tuned at one batch to those for a batch κ times as large
(`ratio`). It is an immutable value, as a schedule is. It combines with any schedule and optimizer.

>>> sqrt = ScalingRule("sqrt", GroupRule(lr=0.5), embeddings=GroupRule())
>>> sqrt.dense.lr_factor(16)
4.0
>>> sqrt.lr_ratios(16)
(1.0, 0.25)

At κ = 1 every rule returns its input.
"""

import math
from dataclasses import dataclass, field
from typing import Annotated

from bsscale.errors import ConfigError
from bsscale.schedules.fields import Choice, Flag, Number, check_fields

__all__ = ["GroupRule", "ScalingRule", "power"]

Exponent = Annotated[float, Number()]
Decay = Annotated[str, Choice("none", "complement", "power")]


def power(ratio: float, exponent: float) -> float:
    """κ^p; exactly 1, √κ and κ if p is 0, 1/2 and 1."""
    if exponent == 0.5:
        return math.sqrt(ratio)
    return float(ratio**exponent)


@dataclass(frozen=True)
class GroupRule:
    r"""How the hyperparameters of one parameter group change with the batch.

    Parameters
    ----------
    lr, eps, weight_decay
        The exponent p of :math:`\kappa^p`, by which the value is multiplied: 0 keeps it, 1/2 is the
        square-root rule and 1 the linear one.
    momentum, beta2
        The rule of a decay β of an average; `momentum` is SGD's momentum or Adam's beta1. ``none``
        keeps it; ``complement`` is :math:`1 - \kappa (1 - \beta)`, the rule of the SDE that Adam
        follows [1]_; ``power`` is :math:`\beta^\kappa`, which keeps the half-life in samples [2]_.

    follows_schedule
        Whether its rate follows the schedule; otherwise it is that of the original batch, base_lr,
        at every update. Only the rule of the embeddings may be so.

    Raises
    ------
    ConfigError
        If an exponent is not a finite number, or if a decay is none of these.

    References
    ----------
    .. [1] S. Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms",
       2022, arXiv:2205.10287.
    .. [2] D. Busbridge et al., "How to Scale Your EMA", 2023, arXiv:2307.13813.
    """

    lr: Exponent = 0.0
    momentum: Decay = "none"
    beta2: Decay = "none"
    eps: Exponent = 0.0
    weight_decay: Exponent = 0.0
    follows_schedule: Flag = True

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def moved(self) -> tuple[str, ...]:
        """The fields whose options of the optimizer change; the learning rate is not among them."""
        moved = [key for key in ("momentum", "beta2") if getattr(self, key) != "none"]
        return (*moved, *(key for key in ("eps", "weight_decay") if getattr(self, key) != 0))

    def lr_factor(self, ratio: float) -> float:
        """The factor of the learning rate at `ratio` times the batch."""
        return power(ratio, self.lr)

    def option_at(self, key: str, value: float, ratio: float, where: str = "") -> float:
        """An option of the optimizer at `ratio` times the batch.

        Parameters
        ----------
        key
            momentum, beta2, eps or weight_decay.
        value
            Its value at the original batch.
        ratio
            New batch divided by the original batch.
        where
            The group's prefix in the names of options, for the message.

        Raises
        ------
        ConfigError
            If a decay would not stay between 0 and 1.
        """
        how = getattr(self, key)
        if ratio == 1:
            return value
        if key in ("eps", "weight_decay"):
            return value * power(ratio, how)
        if how == "none":
            return value
        moved = value**ratio if how == "power" else 1 - ratio * (1 - value)
        if not 0 < moved < 1:
            raise ConfigError(
                f"{key}={value:g} becomes {moved:.4g} at {ratio:g} times the batch by the rule "
                f"{how}, outside (0, 1)",
                f"give scaling.{where}{key}=power (the value to the power of the ratio) or none, "
                "or a smaller batch"
                + (f" (below {1 / (1 - value):.3g} times)" if how == "complement" else ""),
            )
        return float(moved)


@dataclass(frozen=True)
class ScalingRule:
    """How a run changes with the batch.

    Parameters
    ----------
    name
        Its name in records.
    dense
        The rule of all parameters that are in no other group.
    embeddings
        The rule of embedding tables; None if it is the same.
    warmup
        The exponent p of κ^p, by which the length of a warm-up in samples is multiplied; 0 keeps
        it.
    """

    name: str = "none"
    dense: GroupRule = field(default_factory=GroupRule)
    embeddings: GroupRule | None = None
    warmup: Exponent = 0.0

    def __post_init__(self) -> None:
        check_fields(self)

    def lr_ratios(self, ratio: float) -> tuple[float, ...]:
        """Each group's learning rate relative to the dense one's, dense first.

        They are the `ratios` of `bsscale.schedules.torch_form.attach` and of `to_deepspeed`.

        Raises
        ------
        ConfigError
            If the rate of the embeddings does not follow the schedule, so that there is no ratio.
        """
        if self.embeddings is None:
            return (1.0,)
        if not self.embeddings.follows_schedule:
            raise ConfigError(
                "the rate of the embeddings is constant, and has no ratio to the schedule's",
                "attach the schedule to the group of all other parameters only",
            )
        return (1.0, self.embeddings.lr_factor(ratio) / self.dense.lr_factor(ratio))
