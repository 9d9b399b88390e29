"""DeepSpeed's warmups, its own numbers at every update."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bsscale.schedules import checks
from bsscale.schedules.base import Schedule, between

__all__ = ["WarmupCosineLR", "WarmupDecayLR", "WarmupLR"]


@dataclass(frozen=True, kw_only=True)
class _Warmup(Schedule):
    """What the three have in common: a height that rises from 0 to 1."""

    warmup_num_steps: int = 1000
    warmup_type: str = "log"

    def __post_init__(self) -> None:
        steps = checks.whole(
            "warmup_num_steps", self.warmup_num_steps, 1, "give the warmup at least 1 step"
        )
        object.__setattr__(self, "warmup_num_steps", steps)
        checks.choice("warmup_type", self.warmup_type, ("log", "linear"))

    @property
    def length(self) -> int:
        return self._warmup

    @property
    def _warmup(self) -> int:
        # With 1 step the logarithm would divide by 0: DeepSpeed takes 2.
        return max(2, self.warmup_num_steps)

    def _warmed(self, past: int) -> float:
        """Height `past` updates after the first, below the end of the warmup."""
        if self.warmup_type == "linear":
            return past / self._warmup
        # DeepSpeed's operations, kept within the bound that they can leave by rounding.
        return min(1.0, 1.0 / math.log(self._warmup) * math.log(past + 1))


@dataclass(frozen=True, kw_only=True)
class WarmupLR(_Warmup):
    r"""DeepSpeed's WarmupLR: up to the maximum, then constant; momentum is left alone.

    .. math:: \eta_0 = \eta_{min} \qquad
              \eta_t = \eta_{min} + (\eta_{max} - \eta_{min}) \, \gamma(t - 1)

    with W the larger of warmup_num_steps and 2, and for :math:`k < W`

    .. math:: \text{log}: \; \gamma(k) = \ln(k + 1) / \ln W \qquad
              \text{linear}: \; \gamma(k) = k / W

    and 1 from W on. As :math:`\gamma(0) = 0`, the minimum is used twice; `LinearWarmup` uses it
    once.

    Parameters
    ----------
    warmup_max_lr
        Learning rate after the warmup, above 0.
    warmup_min_lr
        Learning rate of the first two updates; 0 <= min <= max.
    warmup_num_steps
        Steps of the warmup, >= 1; 1 counts as 2.
    warmup_type
        "log" or "linear".

    Raises
    ------
    ConfigError
        If a value is outside these bounds.
    """

    warmup_max_lr: float
    warmup_min_lr: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "warmup_max_lr", checks.peak("warmup_max_lr", self.warmup_max_lr))
        object.__setattr__(self, "warmup_min_lr", checks.rate("warmup_min_lr", self.warmup_min_lr))
        checks.not_above(
            "warmup_min_lr",
            self.warmup_min_lr,
            "warmup_max_lr",
            self.warmup_max_lr,
            "a warmup goes up",
        )

    @property
    def peak(self) -> float:
        return self.warmup_max_lr

    def phases(self) -> tuple[tuple[str, int], ...]:
        """The warmup, and the constant rate after it."""
        return (("warmup", 0), ("hold", self._warmup + 1))

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`."""
        past = step - 1
        if past < 0:
            return self.warmup_min_lr
        height = self._warmed(past) if past < self._warmup else self._after(past)
        return between(self.warmup_min_lr, self.warmup_max_lr, height)

    def _after(self, past: int) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class WarmupDecayLR(WarmupLR):
    r"""DeepSpeed's WarmupDecayLR: a warmup, then a straight line back to the minimum.

    As `WarmupLR`, but for :math:`k \ge W`, with T = total_num_steps,

    .. math:: \gamma(k) = \max\left(0, \frac{T - k}{\max(1, T - W)}\right)

    Parameters
    ----------
    total_num_steps
        T, >= 1. If it is below W, the rate drops to the minimum after the warmup.
    warmup_max_lr, warmup_min_lr, warmup_num_steps, warmup_type
        Those of `WarmupLR`.

    Raises
    ------
    ConfigError
        If a value is outside these bounds.
    """

    total_num_steps: int

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "total_num_steps", _total(self.total_num_steps))

    @property
    def length(self) -> int:
        return max(self.total_num_steps, self._warmup)

    def phases(self) -> tuple[tuple[str, int], ...]:
        """Warmup, decay, and the minimum after them."""
        return _phases(self.total_num_steps, self._warmup)

    def notes(self) -> tuple[str, ...]:
        """A total that leaves no steps to decay in."""
        return _without_decay(self.total_num_steps, self._warmup)

    def _after(self, past: int) -> float:
        total = self.total_num_steps
        return max(0.0, (total - past) / max(1, total - self._warmup))


@dataclass(frozen=True, kw_only=True)
class WarmupCosineLR(_Warmup):
    r"""DeepSpeed's WarmupCosineLR: a warmup, then half a cosine; momentum is left alone.

    .. math:: \eta_0 = 0 \qquad \eta_t = \eta \, \rho(t - 1)

    with W and :math:`\gamma` those of `WarmupLR`, and T = total_num_steps,

    .. math::
        \rho(k) = \begin{cases}
            \rho_{warmup} + (1 - \rho_{warmup}) \, \gamma(k)              & k < W \\
            \rho_{cos} + \frac{1 - \rho_{cos}}{2} (1 + \cos \pi x)        & k \ge W
        \end{cases} \qquad
        x = \min\left(1, \frac{k - W + 1}{\max(1, T - W)}\right)

    Parameters
    ----------
    base_lr
        :math:`\eta`, above 0: the learning rate that the optimizer is configured with.
    total_num_steps
        T, >= 1. If it is not above W, the rate drops to its end after the warmup.
    warmup_min_ratio, cos_min_ratio
        Start of the warmup and end of the cosine, as a fraction of base_lr, from 0 to 1.
    warmup_num_steps, warmup_type
        Those of `WarmupLR`.

    Raises
    ------
    ConfigError
        If a value is outside these bounds.
    """

    base_lr: float
    total_num_steps: int
    warmup_min_ratio: float = 0.0
    cos_min_ratio: float = 0.0001

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "base_lr", checks.peak("base_lr", self.base_lr))
        object.__setattr__(self, "total_num_steps", _total(self.total_num_steps))
        for name in ("warmup_min_ratio", "cos_min_ratio"):
            object.__setattr__(self, name, checks.rate(name, getattr(self, name)))
            checks.not_above(name, getattr(self, name), "the whole", 1.0, "ratios are 0 to 1")

    @property
    def length(self) -> int:
        return max(self.total_num_steps, self._warmup)

    @property
    def peak(self) -> float:
        return self.base_lr

    def phases(self) -> tuple[tuple[str, int], ...]:
        """Warmup, cosine, and the constant rate after them."""
        return _phases(self.total_num_steps, self._warmup)

    def notes(self) -> tuple[str, ...]:
        """A total that leaves no steps to decay in."""
        return _without_decay(self.total_num_steps, self._warmup)

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`."""
        past = step - 1
        if past < 0:
            return 0.0
        if past < self._warmup:
            return self.base_lr * between(self.warmup_min_ratio, 1.0, self._warmed(past))
        left = max(1, self.total_num_steps - self._warmup)
        turn = math.cos(math.pi * min(1.0, (past - self._warmup + 1) / left))
        return self.base_lr * between(self.cos_min_ratio, 1.0, (1 + turn) / 2)


def _total(value: int) -> int:
    return checks.whole("total_num_steps", value, 1, "give the steps of the whole training")


def _phases(total: int, warmup: int) -> tuple[tuple[str, int], ...]:
    decay = (("decay", warmup + 1),) if total > warmup else ()
    return (("warmup", 0), *decay, ("hold", max(total, warmup) + 1))


def _without_decay(total: int, warmup: int) -> tuple[str, ...]:
    if total > warmup:
        return ()
    return (
        f"total_num_steps is {total}, not above the warmup's {warmup} steps: the rate drops to its "
        "end at once, without a decay",
    )
