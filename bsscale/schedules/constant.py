"""No schedule at all: one learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from bsscale.errors import ConfigError
from bsscale.schedules import checks
from bsscale.schedules.base import Schedule

__all__ = ["Constant"]


@dataclass(frozen=True)
class Constant(Schedule):
    r"""The same learning rate at every step; momentum is left alone.

    .. math:: \eta_t = \eta

    Parameters
    ----------
    rate
        Learning rate, above 0.

    Raises
    ------
    ConfigError
        If the rate is not a finite number above 0.
    """

    rate: float

    def __post_init__(self) -> None:
        rate = checks.number("rate", self.rate)
        if rate <= 0:
            raise ConfigError(
                f"rate is {rate:g}, and a constant rate of 0 or less trains nothing",
                "give a learning rate above 0",
            )
        object.__setattr__(self, "rate", rate)

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`: always `rate`."""
        return self.rate

    @property
    def peak(self) -> float:
        return self.rate
