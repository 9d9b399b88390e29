"""One late drop of a constant rate."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from bsscale.schedules.constant import Constant
from bsscale.schedules.fields import Integer, Number, PeakRate
from bsscale.schedules.joined import Joined, Piece

__all__ = ["LateDrop"]


@dataclass(frozen=True)
class LateDrop(Joined):
    r"""A constant rate that is divided once, late in the training; momentum is not set.

    .. math::
        \eta_t = \begin{cases}
            \eta_{peak}     & t < n \\
            \eta_{peak} / d & t \ge n
        \end{cases}

    Parameters
    ----------
    peak_lr
        Learning rate before the drop, above 0.
    drop_step
        n, the first step after the drop, >= 1.
    divisor
        d, above 1.

    Raises
    ------
    ConfigError
        If a value is outside these bounds.

    References
    ----------
    TorchRec's example of DLRM on Criteo 1 TB (github.com/facebookresearch/dlrm, torchrec_dlrm,
    ``--learning_rate 15.0 --change_lr --lr_change_point 0.80 --lr_after_change_point 0.20``): a
    75th of the rate after 80% of the one pass.
    """

    peak_lr: PeakRate
    drop_step: Annotated[int, Integer(1, "give at least 1 step, or a constant schedule")]
    divisor: Annotated[
        float,
        Number(lambda divisor: divisor > 1, "which is no drop", "give a number above 1"),
    ] = 75.0

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The rate before the drop, and after it; the length covers one step of the latter."""
        return (
            Piece("peak", Constant(self.peak_lr), self.drop_step),
            Piece("drop", Constant(self.peak_lr / self.divisor), 1),
        )
