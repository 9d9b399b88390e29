"""Learning-rate schedules as values.

A schedule says which learning rate (and which momentum) optimizer update ``t = 0, 1, 2, ...`` uses.
It is an immutable value that never sees an optimizer: the same number in always gives the same
number out, so it can be plotted, compared, put in a test, or handed to any training loop
(`bsscale.schedules.torch_form.attach`).

>>> cycle = OneCycle(cycle_min_lr=0.1, cycle_max_lr=0.5, cycle_first_step_size=4)
>>> [round(cycle.lr(t), 3) for t in range(10)]
[0.1, 0.2, 0.3, 0.4, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1]

A schedule of your own is a frozen dataclass with the formula for one step:

>>> import math
>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class InverseSquareRoot(Schedule):
...     rate: float
...     def lr_at(self, step: int) -> float:
...         return self.rate / math.sqrt(step + 1)
>>> [round(InverseSquareRoot(0.1).lr(t), 4) for t in range(4)]
[0.1, 0.0707, 0.0577, 0.05]
"""

from bsscale.schedules.base import Schedule
from bsscale.schedules.constant import Constant
from bsscale.schedules.cosine import Cosine
from bsscale.schedules.custom import Custom
from bsscale.schedules.deepspeed import from_deepspeed, groups_from_deepspeed, to_deepspeed
from bsscale.schedules.deepspeed_warmup import WarmupCosineLR, WarmupDecayLR, WarmupLR
from bsscale.schedules.late_drop import LateDrop
from bsscale.schedules.linear import Linear, LinearWarmup
from bsscale.schedules.onecycle import OneCycle
from bsscale.schedules.onecycle_torch import OneCycleTorch
from bsscale.schedules.range_test import ExponentialRangeTest, RangeTest
from bsscale.schedules.scaling_rule import GroupRule, ScalingRule
from bsscale.schedules.sequence import Sequence
from bsscale.schedules.wsd import WSD

__all__ = [
    "WSD",
    "Constant",
    "Cosine",
    "Custom",
    "ExponentialRangeTest",
    "GroupRule",
    "LateDrop",
    "Linear",
    "LinearWarmup",
    "OneCycle",
    "OneCycleTorch",
    "RangeTest",
    "ScalingRule",
    "Schedule",
    "Sequence",
    "WarmupCosineLR",
    "WarmupDecayLR",
    "WarmupLR",
    "from_deepspeed",
    "groups_from_deepspeed",
    "to_deepspeed",
]
