"""rates.csv: the learning rate and the momentum of every update, for scripts in any language."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bsscale.files.replace import replace_text
from bsscale.planning.plan import Plan

__all__ = ["RATES", "write_rates"]

RATES = "rates.csv"
_AT_ONCE = 1 << 16


def write_rates(directory: Path, plan: Plan) -> None:
    """Write a line for each update: step, lr, and momentum, which is empty if it is left alone."""
    replace_text(directory / RATES, "".join(_lines(plan)))


def _lines(plan: Plan) -> Iterator[str]:
    yield "step,lr,momentum\n"
    for first in range(0, plan.steps, _AT_ONCE):
        steps = np.arange(first, min(first + _AT_ONCE, plan.steps))
        rates = plan.schedule.lr(steps)
        momenta = plan.schedule.momentum(steps)
        own = plan.momentum(0)
        for number, step in enumerate(steps):
            momentum = own if momenta is None else momenta[number]
            shown = "" if momentum is None else f"{momentum:.17g}"
            yield f"{step},{rates[number]:.17g},{shown}\n"
