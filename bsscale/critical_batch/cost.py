"""What a number of GPUs costs: time, GPU-hours, and which numbers are worth it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Cost", "costs"]


@dataclass(frozen=True)
class Cost:
    """Of one number of GPUs.

    Attributes
    ----------
    gpus
        How many.
    samples
        To the target.
    time_s
        Seconds to the target.
    gpu_hours
        Hours of all GPUs together.
    worth_it
        Whether no other number is both faster and cheaper: the Pareto front.
    """

    gpus: int
    samples: float
    time_s: float
    gpu_hours: float
    worth_it: bool


def costs(samples: Mapping[int, float], samples_per_s: Mapping[int, float]) -> list[Cost]:
    """The cost of each number of GPUs whose throughput is known.

    Parameters
    ----------
    samples
        To the target, by the number of GPUs; infinite where it is not reached.
    samples_per_s
        Throughput of the whole job, by the number of GPUs.
    """
    known = sorted(samples.keys() & samples_per_s.keys())
    time_s = {gpus: samples[gpus] / samples_per_s[gpus] for gpus in known}
    hours = {gpus: gpus * time_s[gpus] / 3600 for gpus in known}

    def beaten(gpus: int) -> bool:
        mine = (time_s[gpus], hours[gpus])
        return math.isinf(mine[0]) or any(
            time_s[each] <= mine[0]
            and hours[each] <= mine[1]
            and (time_s[each], hours[each]) != mine
            for each in known
        )

    return [
        Cost(gpus, samples[gpus], time_s[gpus], hours[gpus], not beaten(gpus)) for gpus in known
    ]
