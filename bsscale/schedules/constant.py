"""No schedule at all: one learning rate."""

from dataclasses import dataclass
from typing import Annotated

from bsscale.schedules.base import Schedule
from bsscale.schedules.fields import Number

__all__ = ["Constant"]


@dataclass(frozen=True)
class Constant(Schedule):
    r"""The same learning rate at every step; momentum is not set.

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

    rate: Annotated[
        float,
        Number(
            lambda rate: rate > 0,
            "and a constant rate of 0 or less trains nothing",
            "give a learning rate above 0",
        ),
    ]

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`: always `rate`."""
        return self.rate

    @property
    def peak(self) -> float:
        return self.rate
