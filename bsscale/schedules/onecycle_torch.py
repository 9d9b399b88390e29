"""1-Cycle as PyTorch parametrizes it."""

import math
from dataclasses import dataclass
from typing import Annotated

from bsscale.errors import ConfigError
from bsscale.schedules.base import Schedule
from bsscale.schedules.fields import (
    AtMost,
    Choice,
    Flag,
    Integer,
    Momentum,
    Number,
    PeakRate,
)

__all__ = ["OneCycleTorch"]


@dataclass(frozen=True)
class OneCycleTorch(Schedule):
    r"""The 1-Cycle of torch.optim.lr_scheduler.OneCycleLR, with the same numbers at every step.

    From :math:`\eta_0 = \text{max\_lr} / \text{div\_factor}` to max_lr, and on to
    :math:`\eta_0 / \text{final\_div\_factor}` (in three phases: back to :math:`\eta_0` first). With
    p = pct_start and T = total_steps the first phase ends at step :math:`pT - 1`, the second of
    three at :math:`2pT - 2`, and the last at :math:`T - 1`; none of them need be whole. Within a
    phase from value v to w, at a fraction x of its steps,

    .. math::
        \text{cos}: \; w + \tfrac{v - w}{2} (1 + \cos \pi x) \qquad
        \text{linear}: \; v + (w - v) x

    and the momentum goes against the rate: from max_momentum to base_momentum and back.

    Past its end the schedule holds its last values. (OneCycleLR raises there, one step late.)

    Parameters
    ----------
    max_lr
        Learning rate at the peak, above 0.
    total_steps
        T, steps of the whole cycle, >= 1.
    pct_start
        p, fraction of the cycle in which the rate rises, from 0 to 1.
    anneal_strategy
        "cos" or "linear".
    cycle_momentum
        False: the momentum is not set.
    base_momentum, max_momentum
        Momentum at the peak, and where the rate is low; 0 <= base <= max < 1.
    div_factor
        The peak divided by the initial rate, >= 1.
    final_div_factor
        The initial rate divided by the final one, above 0; the final rate is not above the peak.
    three_phase
        Fall as fast as the rate rose, then from the initial to the final rate.

    Raises
    ------
    ConfigError
        If a value is outside these bounds, or if pct_start x total_steps is 1, where OneCycleLR
        divides by 0.

    References
    ----------
    PyTorch, `torch.optim.lr_scheduler.OneCycleLR`, after L. N. Smith and N. Topin, 2017,
    arXiv:1708.07120.
    """

    max_lr: PeakRate
    total_steps: Annotated[int, Integer(1, "give the cycle at least 1 step")]
    pct_start: Annotated[
        float,
        Number(
            lambda fraction: 0 <= fraction <= 1,
            "outside 0 to 1",
            "give the fraction of the cycle in which the rate rises; 0.3 is common",
        ),
    ] = 0.3
    anneal_strategy: Annotated[str, Choice("cos", "linear")] = "cos"
    cycle_momentum: Flag = True
    base_momentum: Annotated[
        Momentum, AtMost("max_momentum", "momentum is at its base where the learning rate peaks")
    ] = 0.85
    max_momentum: Momentum = 0.95
    div_factor: Annotated[
        float,
        Number(
            lambda factor: factor >= 1,
            "below 1: the initial rate would be above the peak",
            "give 1 or more; 25 is PyTorch's default",
        ),
    ] = 25.0
    final_div_factor: Annotated[float, Number()] = 1e4
    three_phase: Flag = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pct_start * self.total_steps == 1.0:
            raise ConfigError(
                f"pct_start is {self.pct_start:g} of total_steps, {self.total_steps}: one step to "
                "rise in, from step 0 to step 0",
                f"give pct_start=0 to start near the peak, or at least {2 / self.total_steps:g}",
            )
        if self.final_div_factor <= 0 or self._final_lr > self.max_lr:
            raise ConfigError(
                f"final_div_factor is {self.final_div_factor:g}, which does not end at or below "
                "the peak",
                "give the initial rate divided by the final one; 1e4 is PyTorch's default",
            )

    @property
    def _initial_lr(self) -> float:
        return self.max_lr / self.div_factor

    @property
    def _final_lr(self) -> float:
        return self._initial_lr / self.final_div_factor

    @property
    def length(self) -> int:
        return self.total_steps

    @property
    def peak(self) -> float:
        return self.max_lr

    def phases(self) -> tuple[tuple[str, int], ...]:
        """The phases that have a step of their own; the peak is the last step of the rise."""
        names = ("rise", "fall", "decay") if self.three_phase else ("rise", "fall")
        phases, first = [], 0
        for name, end in zip(names, self._ends(), strict=True):
            last = min(math.floor(end), self.total_steps - 1)
            if last >= first:
                phases.append((name, first))
                first = last + 1
        return (*phases, ("hold", self.total_steps))

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`."""
        turns = [self._initial_lr, self.max_lr, self._final_lr]
        if self.three_phase:
            turns.insert(2, self._initial_lr)
        return self._annealed(step, turns)

    def momentum_at(self, step: int) -> float | None:
        """Momentum of update `step`; None if it is not cycled."""
        if not self.cycle_momentum:
            return None
        turns = [self.max_momentum, self.base_momentum, self.max_momentum]
        if self.three_phase:
            turns.append(self.max_momentum)
        return self._annealed(step, turns)

    def _ends(self) -> tuple[float, ...]:
        """Last step of each phase; a fraction of a step where OneCycleLR has one."""
        rise, last = self.pct_start * self.total_steps - 1, float(self.total_steps - 1)
        fall = (2 * self.pct_start * self.total_steps - 2,) if self.three_phase else ()
        return (rise, *fall, last)

    def _annealed(self, step: int, turns: list[float]) -> float:
        """The value at `step` of a curve that turns at `turns`, from phase to phase."""
        step = min(step, self.total_steps - 1)
        ends = self._ends()
        begin = 0.0
        for phase, end in enumerate(ends):
            if step <= end or phase == len(ends) - 1:
                break
            begin = end
        start, stop = turns[phase], turns[phase + 1]
        done = (step - begin) / (end - begin)
        # The same operations as OneCycleLR, clipped, because rounding can move the result beyond
        # the ends.
        if self.anneal_strategy == "cos":
            value = stop + (start - stop) / 2.0 * (math.cos(math.pi * done) + 1)
        else:
            value = (stop - start) * done + start
        return min(max(value, min(start, stop)), max(start, stop))
