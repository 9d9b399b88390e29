"""Record what DeepSpeed's own OneCycle does, for tests/test_schedules.py.

DeepSpeed is needed only to regenerate the traces, so it is not a dependency. In an environment of
its own, on any machine (no GPU, no compiler)::

    python -m venv /tmp/deepspeed && . /tmp/deepspeed/bin/activate
    pip install torch==2.13.0 numpy setuptools wheel
    DS_BUILD_OPS=0 pip install --no-build-isolation deepspeed==0.19.8
    DS_ACCELERATOR=cpu python tests/golden/regenerate_deepspeed.py

writes deepspeed_onecycle.npz beside this file (no pickles inside; the same bytes every time):

- ``sections``: JSON, a list of OneCycle parameters; the first is that of DeepSpeed's tutorial, the
  others are random;
- ``updates``: number of updates recorded of each;
- ``lr``, ``momentum``: the traces, end to end. Entry t of a trace is what the optimizer holds at
  update t, when its scheduler is stepped after each update. Momentum is Adam's beta1, the only
  momentum that DeepSpeed cycles.
"""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

VERSION = "0.19.8"
OUTPUT = Path(__file__).with_name("deepspeed_onecycle.npz")

TUTORIAL: dict[str, Any] = {
    "cycle_min_lr": 0.0001,
    "cycle_max_lr": 0.0010,
    "cycle_first_step_size": 1000,
    "cycle_second_step_size": 1000,
    "cycle_first_stair_count": 500,
    "cycle_second_stair_count": 500,
    "decay_step_size": 1000,
    "decay_lr_rate": 0.001,
    "cycle_min_mom": 0.85,
    "cycle_max_mom": 0.99,
    "decay_mom_rate": 0.0,
}


def random_section(rng: random.Random) -> dict[str, Any]:
    """Parameters of a short cycle: one that is likely to meet an edge."""

    def stairs() -> int:
        # -1 is how some DeepSpeed configurations write "continuous"; most counts do not divide the
        # step sizes, and some exceed them.
        return rng.choice(
            [0, -1, 1, 2, rng.randint(3, 20), rng.randint(3, 20), rng.randint(21, 99)]
        )

    peak = 10 ** rng.uniform(-6, 1)
    section: dict[str, Any] = {
        "cycle_min_lr": peak * rng.choice([0.0, 1.0, 0.1, rng.random(), rng.random()]),
        "cycle_max_lr": peak,
        "cycle_first_step_size": rng.choice([1, 2, rng.randint(3, 60), rng.randint(3, 60)]),
        "cycle_first_stair_count": stairs(),
    }
    # None, as a key left out does, means "as the first".
    second = rng.choice([None, 0, 1, rng.randint(2, 60), rng.randint(2, 60)])
    if second is not None:
        section["cycle_second_step_size"] = second
    if rng.random() < 0.7:
        section["cycle_second_stair_count"] = stairs()
    if rng.random() < 0.6:
        section["decay_step_size"] = rng.choice([1, rng.randint(2, 30)])
        section["decay_lr_rate"] = rng.choice([0.0, 10 ** rng.uniform(-4, 1)])
        section["decay_mom_rate"] = rng.choice([0.0, 10 ** rng.uniform(-4, -1)])
    low, high = sorted((rng.uniform(0, 0.99), rng.uniform(0, 0.99)))
    return section | {"cycle_min_mom": low, "cycle_max_mom": high}


def trace(section: dict[str, Any], updates: int) -> tuple[list[float], list[float]]:
    """Learning rate and beta1 that Adam holds at update 0, 1, ..., updates - 1."""
    torch = importlib.import_module("torch")
    schedules = importlib.import_module("deepspeed.runtime.lr_schedules")
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    scheduler = schedules.OneCycle(optimizer, **section)
    rates, momenta = [], []
    for _ in range(updates):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        momenta.append(float(optimizer.param_groups[0]["betas"][0]))
        optimizer.step()
        scheduler.step()
    return rates, momenta


def main() -> None:
    installed = importlib.import_module("deepspeed").__version__
    if installed != VERSION:
        raise SystemExit(f"deepspeed is {installed}, but the traces are those of {VERSION}")
    rng = random.Random(0)
    sections, updates, rates, momenta = [TUTORIAL], [4000], [], []
    for _ in range(400):
        section = random_section(rng)
        first = section["cycle_first_step_size"]
        sections.append(section)
        updates.append(first + section.get("cycle_second_step_size", first) + rng.randint(2, 30))
    for section, count in zip(sections, updates, strict=True):
        section_rates, section_momenta = trace(section, count)
        rates += section_rates
        momenta += section_momenta
    np.savez_compressed(
        OUTPUT,
        sections=np.array(json.dumps(sections)),
        updates=np.array(updates),
        lr=np.array(rates),
        momentum=np.array(momenta),
    )
    print(f"{OUTPUT.name}: {len(sections)} sections, {len(rates)} updates")


if __name__ == "__main__":
    main()
