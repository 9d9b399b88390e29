"""Record what DeepSpeed's own schedulers do, for tests/test_deepspeed.py.

DeepSpeed is needed only to regenerate the traces, so it is not a dependency. In an environment of
its own, on any machine (no GPU, no compiler)::

    python -m venv /tmp/deepspeed && . /tmp/deepspeed/bin/activate
    pip install torch==2.13.0 numpy setuptools wheel
    DS_BUILD_OPS=0 pip install --no-build-isolation deepspeed==0.19.8
    DS_ACCELERATOR=cpu python tests/golden/regenerate_deepspeed.py

writes deepspeed_schedules.npz beside this file (no pickles inside; the same bytes every time):

- ``sections``: JSON, a list of ``{"type": ..., "params": ..., "base_lr": ...}``, where base_lr is
  the learning rate that the optimizer was made with; the first is the OneCycle of DeepSpeed's
  tutorial, the others are random;
- ``updates``: number of updates recorded of each;
- ``lr``, ``momentum``: the traces, end to end. Entry t of a trace is what the optimizer holds at
  update t, when its scheduler is stepped after each update. Momentum is Adam's beta1, the only
  momentum that DeepSpeed cycles; only traces of OneCycle have one.
"""

from __future__ import annotations

import importlib
import json
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

VERSION = "0.19.8"
OUTPUT = Path(__file__).with_name("deepspeed_schedules.npz")

Params = dict[str, Any]

TUTORIAL: Params = {
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


def one_cycle(rng: random.Random) -> tuple[Params, int]:
    """Parameters of a short cycle, one that is likely to meet an edge, and updates to record."""

    def stairs() -> int:
        # 0 or less is "continuous"; most counts do not divide the step sizes, some exceed them.
        return rng.choice(
            [0, -1, -5, 1, 2, rng.randint(3, 20), rng.randint(3, 20), rng.randint(21, 99)]
        )

    peak = 10 ** rng.uniform(-6, 1)
    params: Params = {
        "cycle_min_lr": peak * rng.choice([0.0, 1.0, 0.1, rng.random(), rng.random()]),
        "cycle_max_lr": peak,
        "cycle_first_step_size": rng.choice([1, 2, rng.randint(3, 60), rng.randint(3, 60)]),
    }
    if rng.random() < 0.9:
        params["cycle_first_stair_count"] = stairs()
    # None, as a key left out does, means "as the first".
    second = rng.choice([None, 0, 1, rng.randint(2, 60), rng.randint(2, 60)])
    if second is not None:
        params["cycle_second_step_size"] = second
    if rng.random() < 0.7:
        params["cycle_second_stair_count"] = stairs()
    if rng.random() < 0.6:
        params["decay_step_size"] = rng.choice([1, rng.randint(2, 30)])
    if rng.random() < 0.8:
        # Without a decay_step_size DeepSpeed ignores them.
        params["decay_lr_rate"] = rng.choice([0.0, 10 ** rng.uniform(-4, 1)])
        params["decay_mom_rate"] = rng.choice([0.0, 10 ** rng.uniform(-4, -1)])
    if rng.random() < 0.9:
        low, high = sorted((rng.uniform(0, 0.99), rng.uniform(0, 0.99)))
        params |= {"cycle_min_mom": low, "cycle_max_mom": high}
    first = params["cycle_first_step_size"]
    return params, first + (first if second is None else second) + rng.randint(2, 30)


def long_cycle(rng: random.Random) -> tuple[Params, int]:
    """A long, very uneven cycle, where DeepSpeed's own rounding shows most."""
    long, short = rng.randint(1000, 2000), rng.randint(1, 9)
    first, second = rng.choice([(long, short), (short, long)])
    params = {
        "cycle_min_lr": 0.0,
        "cycle_max_lr": 10 ** rng.uniform(-6, 1),
        "cycle_first_step_size": first,
        "cycle_second_step_size": second,
        "cycle_second_stair_count": rng.choice([0, 0, 7]),
    }
    return params, first + second + 3


def range_test(rng: random.Random) -> tuple[Params, int]:
    params: Params = {
        "lr_range_test_min_lr": 10 ** rng.uniform(-7, 0),
        "lr_range_test_step_size": rng.choice([1, 2, rng.randint(3, 40), rng.randint(3, 40)]),
        "lr_range_test_step_rate": 10 ** rng.uniform(-2, 2),
        "lr_range_test_staircase": rng.random() < 0.5,
    }
    return without_some(params, rng, params), rng.randint(20, 100)


def warmup(rng: random.Random) -> tuple[Params, int]:
    peak = 10 ** rng.uniform(-6, 1)
    params: Params = {
        "warmup_min_lr": peak * rng.choice([0.0, 1.0, rng.random(), rng.random()]),
        "warmup_max_lr": peak,
        "warmup_num_steps": rng.choice([1, 2, 3, rng.randint(4, 60), rng.randint(4, 60)]),
        "warmup_type": rng.choice(["log", "linear"]),
    }
    updates = params["warmup_num_steps"] + rng.randint(3, 20)
    params = without_some(params, rng, ["warmup_min_lr", "warmup_type"])
    if rng.random() < 0.3:  # up to the optimizer's own rate
        params.pop("warmup_max_lr")
        params.pop("warmup_min_lr", None)
    return params, updates


def warmup_decay(rng: random.Random) -> tuple[Params, int]:
    params, _ = warmup(rng)
    params.setdefault("warmup_max_lr", 10 ** rng.uniform(-6, 1))
    total = total_steps(params, rng)
    return params | {"total_num_steps": total}, max(total, params["warmup_num_steps"]) + 6


def warmup_cosine(rng: random.Random) -> tuple[Params, int]:
    params: Params = {
        "warmup_num_steps": rng.choice([1, 2, 3, rng.randint(4, 40), rng.randint(4, 40)]),
        "warmup_min_ratio": rng.choice([0.0, rng.random()]),
        "warmup_type": rng.choice(["log", "linear"]),
        "cos_min_ratio": rng.choice([0.0, 1.0, rng.random(), 10 ** rng.uniform(-5, 0)]),
    }
    total = total_steps(params, rng)
    updates = max(total, params["warmup_num_steps"]) + 6
    params = without_some(params, rng, ["warmup_min_ratio", "warmup_type", "cos_min_ratio"])
    return params | {"total_num_steps": total}, updates


def total_steps(params: Params, rng: random.Random) -> int:
    """Sometimes no more than the warmup: DeepSpeed warns and goes on."""
    warmup_steps = int(params["warmup_num_steps"])
    return max(1, warmup_steps + rng.choice([-3, 0, 1, 2, *(rng.randint(3, 60) for _ in range(6))]))


def without_some(params: Params, rng: random.Random, names: Any) -> Params:
    """Some keys left out, for DeepSpeed's defaults."""
    left_out = {name for name in names if rng.random() < 0.15}
    return {name: value for name, value in params.items() if name not in left_out}


KINDS: list[tuple[str, Callable[[random.Random], tuple[Params, int]], int]] = [
    ("OneCycle", one_cycle, 500),
    ("OneCycle", long_cycle, 8),
    ("LRRangeTest", range_test, 200),
    ("WarmupLR", warmup, 200),
    ("WarmupDecayLR", warmup_decay, 200),
    ("WarmupCosineLR", warmup_cosine, 200),
]


def trace(section: dict[str, Any], updates: int) -> tuple[list[float], list[float]]:
    """Learning rate and beta1 that Adam holds at update 0, 1, ..., updates - 1."""
    torch = importlib.import_module("torch")
    schedules = importlib.import_module("deepspeed.runtime.lr_schedules")
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=section["base_lr"])
    scheduler = getattr(schedules, section["type"])(optimizer, **section["params"])
    rates, momenta = [], []
    for _ in range(updates):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        momenta.append(float(optimizer.param_groups[0]["betas"][0]))
        optimizer.step()
        scheduler.step()
    return rates, momenta if section["type"] == "OneCycle" else []


def main() -> None:
    deepspeed = importlib.import_module("deepspeed")
    if deepspeed.__version__ != VERSION:
        raise SystemExit(f"deepspeed is {deepspeed.__version__}, but the traces are of {VERSION}")
    deepspeed.utils.logger.setLevel(logging.ERROR)  # it warns of every first update
    rng = random.Random(0)
    sections: list[dict[str, Any]] = [{"type": "OneCycle", "params": TUTORIAL, "base_lr": 0.001}]
    updates = [4000]
    for name, draw, count in KINDS:
        for _ in range(count):
            params, recorded = draw(rng)
            sections.append({"type": name, "params": params, "base_lr": 10 ** rng.uniform(-5, 0)})
            updates.append(recorded)
    rates, momenta = [], []
    for section, recorded in zip(sections, updates, strict=True):
        section_rates, section_momenta = trace(section, recorded)
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
