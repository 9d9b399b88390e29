"""1-Cycle, with the parameters of DeepSpeed's."""

from dataclasses import dataclass
from typing import Annotated

from bsscale.errors import ConfigError
from bsscale.schedules.base import Schedule, interpolate
from bsscale.schedules.fields import (
    AtMost,
    Flag,
    Integer,
    LearningRate,
    Momentum,
    Number,
    PeakRate,
)

__all__ = ["OneCycle"]

Stairs = Annotated[int, Integer(0, "give 0 for a continuous half")]
DecayRate = Annotated[
    float,
    Number(
        lambda rate: rate >= 0,
        "below 0",
        "give a rate of 0 or more: a positive rate makes the value decay",
    ),
]


@dataclass(frozen=True)
class OneCycle(Schedule):
    r"""One cycle from a low to a high learning rate and back, then a decay.

    With :math:`a` and :math:`b` the sizes of the two halves, the height :math:`s_t` is

    .. math::
        s_t = \begin{cases}
            t / a           & t < a \\
            1               & t = a \quad (0 \text{ if } b = 0) \\
            (a + b - t) / b & a < t \le a + b
        \end{cases}

    and with :math:`n > 0` stairs in that half :math:`s_t \leftarrow \lfloor n s_t \rfloor / n`.
    Within the cycle, the rate rises and falls with the height, and the momentum does the opposite:

    .. math::
        \eta_t &= \eta_{min} + (\eta_{max} - \eta_{min}) s_t \\
        \mu_t  &= \mu_{max} - (\mu_{max} - \mu_{min}) s_t

    After it, :math:`t > a + b`, with :math:`k = (t - a - b) / \text{decay\_step\_size}`:

    .. math::
        \eta_t = \frac{\eta_{min}}{1 + \text{decay\_lr\_rate} \cdot k} \qquad
        \mu_t  = \frac{\mu_{max}}{1 + \text{decay\_mom\_rate} \cdot k}

    Parameters
    ----------
    cycle_min_lr, cycle_max_lr
        Learning rate at the start and end of the cycle, and at its peak; 0 <= min <= max, max > 0.
    cycle_first_step_size
        Steps of the rising half, >= 1.
    cycle_second_step_size
        Steps of the falling half, >= 0; None means as many as the first. With 0 there is no falling
        half, and the rate drops at step `a` from just below the peak to the minimum.
    cycle_first_stair_count
        Stairs of the rising half; 0 means continuous.
    cycle_second_stair_count
        Stairs of the falling half; None means as many as the first.
    decay_step_size
        The decay rates are per this number of steps; 0 means no decay, and the rate stays at its
        minimum.
    decay_lr_rate
        Decay of the learning rate, >= 0.
    cycle_momentum
        False: the momentum is not set.
    cycle_min_mom, cycle_max_mom
        Momentum at the peak, and at the start and end of the cycle; 0 <= min <= max < 1.
    decay_mom_rate
        Decay of the momentum after the cycle, >= 0.

    Raises
    ------
    ConfigError
        If a value is outside these bounds, or a decay rate is given that could do nothing.

    Notes
    -----
    The parameters are those of DeepSpeed's OneCycle [3]_, and the learning rate equals that of
    DeepSpeed 0.19.8 at every update to 1e-12 of the peak (where one half is thousands of times the
    length of the other, as far as DeepSpeed's own rounding allows). The differences are deliberate:

    - momentum is high at step 0, as everywhere where the rate is low; DeepSpeed starts it at
      `cycle_min_mom` for one update;
    - `decay_mom_rate` makes the momentum decay, so it cannot reach 1; DeepSpeed multiplies by
      :math:`1 + \text{decay\_mom\_rate} \cdot k`, so it grows without end;
    - a schedule is momentum only: Adam's beta2 is kept; DeepSpeed overwrites it with 0.99;
    - momentum is for any optimizer that has one; DeepSpeed cycles Adam's beta1, but not SGD's
      momentum;
    - a negative stair count and a minimum above the maximum are rejected; DeepSpeed treats a
      negative stair count as continuous, and inverts the cycle if the minimum is above the maximum.

    References
    ----------
    .. [1] L. N. Smith, N. Topin, "Super-Convergence: Very Fast Training of Neural Networks Using
       Large Learning Rates", 2017, arXiv:1708.07120.
    .. [2] L. N. Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018,
       arXiv:1803.09820.
    .. [3] DeepSpeed, `deepspeed.runtime.lr_schedules.OneCycle`.
    """

    cycle_min_lr: Annotated[
        LearningRate, AtMost("cycle_max_lr", "the cycle starts and ends at the minimum")
    ]
    cycle_max_lr: PeakRate
    cycle_first_step_size: Annotated[int, Integer(1, "give the rising half at least 1 step")]
    cycle_second_step_size: (
        Annotated[int, Integer(0, "give the steps of the falling half, or 0 for none")] | None
    ) = None
    cycle_first_stair_count: Stairs = 0
    cycle_second_stair_count: Stairs | None = None
    decay_step_size: Annotated[
        int, Integer(0, "give the steps of the decay, or 0 for no decay")
    ] = 0
    decay_lr_rate: DecayRate = 0.0
    cycle_momentum: Flag = True
    cycle_min_mom: Annotated[
        Momentum,
        AtMost("cycle_max_mom", "momentum is at its minimum where the learning rate peaks"),
    ] = 0.8
    cycle_max_mom: Momentum = 0.9
    decay_mom_rate: DecayRate = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("decay_lr_rate", "decay_mom_rate"):
            rate = getattr(self, name)
            if rate > 0 and self.decay_step_size == 0:
                raise ConfigError(
                    f"{name} is {rate:g}, but decay_step_size is 0, which means no decay",
                    f"give decay_step_size (steps over which the rate counts), or {name}=0",
                )
        if self.decay_mom_rate > 0 and not self.cycle_momentum:
            raise ConfigError(
                f"decay_mom_rate is {self.decay_mom_rate:g}, but cycle_momentum is false, which "
                "leaves momentum alone",
                "set cycle_momentum=true, or decay_mom_rate=0",
            )

    @property
    def second_step_size(self) -> int:
        """Steps of the falling half, the default resolved."""
        second = self.cycle_second_step_size
        return self.cycle_first_step_size if second is None else second

    @property
    def second_stair_count(self) -> int:
        """Stairs of the falling half as configured, the default resolved; 0 means continuous."""
        second = self.cycle_second_stair_count
        return self.cycle_first_stair_count if second is None else second

    @property
    def end_step(self) -> int:
        """Last step of the cycle, a + b: the rate is back at its minimum; the decay follows."""
        return self.cycle_first_step_size + self.second_step_size

    @property
    def length(self) -> int:
        return self.end_step

    @property
    def peak(self) -> float:
        return self.cycle_max_lr

    def levels(self) -> tuple[int, int]:
        """Distinct heights in the rising and the falling half, the peak (one step) left out.

        A half of `m` steps has at most `m` heights, so of `n` stairs `min(n, m)` remain.
        """
        halves = (
            (self.cycle_first_stair_count, self.cycle_first_step_size),
            (self.second_stair_count, self.second_step_size),
        )
        first, second = (min(stairs, steps) if stairs else steps for stairs, steps in halves)
        return first, second

    def phases(self) -> tuple[tuple[str, int], ...]:
        """Name and first step of each phase, in order; one without steps is left out."""
        fall = (("fall", self.cycle_first_step_size),) if self.second_step_size else ()
        # With b = 0 step a is already at the minimum; it still belongs to the cycle's formula, but
        # to a reader it is where the rest begins.
        rest = self.end_step + 1 if fall else self.end_step
        return (("rise", 0), *fall, ("decay" if self.decay_step_size else "hold", rest))

    def notes(self) -> tuple[str, ...]:
        """Stairs that are lost because a half is too short, and a peak that is never reached."""
        a, b = self.cycle_first_step_size, self.second_step_size
        notes = []
        if self.cycle_first_stair_count > a:
            notes.append(_lost_stairs("first", self.cycle_first_stair_count, "rising", a))
        # Do not warn about a count that was inherited by a half of 0 steps.
        if self.second_stair_count > b and (b > 0 or self.cycle_second_stair_count is not None):
            notes.append(_lost_stairs("second", self.second_stair_count, "falling", b))
        if b == 0:
            notes.append(
                f"cycle_second_step_size is 0: the rate drops to cycle_min_lr at step {a}, and "
                f"rises to {self.lr_at(a - 1):g} at most, not to cycle_max_lr"
            )
        return tuple(notes)

    def lr_at(self, step: int) -> float:
        """Learning rate of update `step`: with the height, then the decay."""
        past = step - self.end_step
        if past <= 0:
            return interpolate(self.cycle_min_lr, self.cycle_max_lr, self._height(step))
        return self.cycle_min_lr / self._decay(self.decay_lr_rate, past)

    def momentum_at(self, step: int) -> float | None:
        """Momentum of update `step`: against the height, then the decay; None if not cycled."""
        if not self.cycle_momentum:
            return None
        past = step - self.end_step
        if past <= 0:
            return interpolate(self.cycle_max_mom, self.cycle_min_mom, self._height(step))
        return self.cycle_max_mom / self._decay(self.decay_mom_rate, past)

    def _decay(self, rate: float, past: int) -> float:
        return 1.0 + rate * (past / self.decay_step_size) if rate else 1.0

    def _height(self, step: int) -> float:
        """Height s of a step within the cycle, in [0, 1]."""
        a, b = self.cycle_first_step_size, self.second_step_size
        if step < a:
            climbed, size, stairs = step, a, self.cycle_first_stair_count
        elif step == a:
            return 1.0 if b else 0.0
        else:
            climbed, size, stairs = a + b - step, b, self.second_stair_count
        if stairs:
            # From integers: floor(n * (climbed / size)) would lose a stair wherever the quotient
            # rounds to just below an exact one, as 29/50 does with 50 stairs.
            return (climbed * stairs // size) / stairs
        return climbed / size


def _lost_stairs(which: str, stairs: int, half: str, steps: int) -> str:
    remain = f"{steps} of its stairs remain" if steps else "none of its stairs remain"
    return f"cycle_{which}_stair_count is {stairs}, but the {half} half has {steps} steps: {remain}"
