"""Records for reports, made without training."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bsscale.records.evaluation import EvalPoint
from bsscale.records.writer import Records
from tests.test_records import RUN

TARGET = 0.76
ARMS: Mapping[str, tuple[int, float, Mapping[str, Any]]] = {
    "1 GPU": (1, 200_000, {"name": "fixed"}),
    "8 GPUs, fixed": (8, 480_000, {"name": "fixed"}),
    "8 GPUs, linear scaling": (8, 290_000, {"name": "linear_scaling"}),
    "8 GPUs, 1-Cycle": (8, 230_000, {"name": "onecycle", "cycle_first_stair_count": 0}),
}


def write_run_of(
    directory: Path,
    arm: str,
    seed: int,
    samples: float | None,
    *,
    gpus: int = 8,
    schedule: Mapping[str, Any] | None = None,
    status: str | None = None,
    budget: int = 1_000_000,
    noise_scale: float | None = None,
    **fields: Any,
) -> None:
    """A run that reached the target after `samples`, or did not."""
    schedule = schedule or {"name": "fixed"}
    made = status or ("exhausted" if samples is None else "reached")
    end = budget if samples is None else samples + 2 * 16_384
    if made == "diverged":
        end = budget / 4
    record = msgspec.structs.replace(
        RUN, arm=arm, arm_hash=hash_of(arm), seed=seed, gpus=gpus, status=made,
        global_batch=128 * gpus, samples_to_target=samples, budget_samples=budget,
        samples_seen=int(end), schedule=schedule["name"], target=TARGET, best_value=0.765,
        environment={"python": "3.11", "packages": {"torch": "2.13.0"}, "device": "cpu"},
        config={"gpus": gpus, "schedule": dict(schedule), "seed": seed},
        samples_to_target_interval=None if samples is None else (0, int(samples) + 1),
    )  # fmt: skip
    pace = samples or 3 * budget
    with Records(directory) as records:
        grid = range(0, int(end) + 16_384, 16_384)
        for step, x in enumerate(grid):
            auc = 0.5 + 0.26 * min(1.1, math.log1p(20 * x / pace) / math.log(21))
            loss = 0.6 - 0.4 * (auc - 0.5)
            peak = {"onecycle": 2.6, "linear_scaling": 1.6}.get(schedule["name"], 0.2)
            part = min(1.0, x / 260_000)
            lr = 0.26 + (peak - 0.26) * (1 - abs(2 * part - 1)) if peak == 2.6 else peak
            momentum = 0.9 - 0.1 * (1 - abs(2 * part - 1)) if peak == 2.6 else 0.9
            first = x == 0
            records.on_eval(EvalPoint(
                step, x, {"auc": auc, "log_loss": loss}, None if first else loss,
                None if first else lr, None if first else momentum, step * 0.1,
                None if first or noise_scale is None else noise_scale * (0.5 + x / end),
            ))  # fmt: skip
        if noise_scale is not None:
            fields = {"noise_scale": noise_scale, "noise_scale_windows": 12, **fields}
        records.finish(msgspec.structs.replace(record, **fields))


def hash_of(arm: str) -> str:
    return hashlib.sha256(arm.encode()).hexdigest()[:12]


def noise(arm: str, seed: int) -> float:
    """Seeds differ by up to a quarter, reproducibly."""
    return 0.8 + 0.05 * ((seed * 7 + len(arm) * 3) % 10)


def write_study(
    directory: Path, seeds: Sequence[int] = range(8), name: str = "eight", **fields: Any
) -> Path:
    """A study with a censored and a diverged run, a tuning at its edge, and a range test."""
    for arm, (gpus, pace, schedule) in ARMS.items():
        for seed in seeds:
            where = directory / "runs" / arm.replace(" ", "_") / str(seed)
            samples: float | None = pace * noise(arm, seed)
            status = None
            if "fixed" in arm and seed % 4 == 3:
                samples = None
                status = "diverged" if seed % 8 == 7 else None
            write_run_of(
                where, arm, seed, samples, gpus=gpus, schedule=schedule, status=status,
                study="abc",
            )  # fmt: skip
    write_run_of(directory / "tuning" / "0", "tuning", 500, 100.0, gpus=1)
    write_range_test(directory / "range_test")
    data = {
        "format_version": 2,
        "name": name,
        "hash": "abc",
        "registered": {
            "gpus": 8,
            "settings": {"dataset": "flights", "model": "dlrm", "optimizer": "sgd"},
            "arms": [
                {
                    "name": arm,
                    "role": "baseline" if gpus == 1 else "arm",
                    "gpus": gpus,
                    "rate": "base_lr",
                    "preset": False,
                    "schedule": dict(schedule),
                }
                for arm, (gpus, _, schedule) in ARMS.items()
            ],
            "seeds": list(seeds),
            "tuning_seeds": [500, 501],
            "target_seeds": [600, 601],
            "range_test_seeds": 2,
            "target_rule": "median best AUC of one pass at 1 GPU, minus 0.005",
            "budget_rule": "given: 1000000 samples",
            "target": None,
            "base_lr": None,
            "rates": [None, None],
            "stacks": [],
            "trials": 7,
        },
        "amendments": [],
        "target": TARGET,
        "base_lr": 0.2,
        "tunings": [
            tuning("1 GPU", 1, [0.05, 0.1, 0.2, 0.4, 0.8], best=0.2, edge=None),
            tuning("8 GPUs, fixed", 8, [0.2, 0.4, 0.8, 1.6], best=1.6, edge="high"),
        ],
        "deviations": [],
        "cost": {"samples": 12_345_678, "wall_s": 456.7},
        "commands": ["python -m bsscale task=study study=eight"],
    }
    (directory / "study.json").write_text(json.dumps({**data, **fields}))
    return directory


def tuning(
    name: str, gpus: int, rates: Sequence[float], best: float, edge: str | None
) -> dict[str, Any]:
    return {
        "name": name,
        "gpus": gpus,
        "samples": 270_000,
        "lowest": rates[0],
        "highest": rates[-1],
        "best": best,
        "edge": edge,
        "extended": 1 if edge else 0,
        "trials": [
            {
                "lr": rate,
                "best_value": 0.77 - 0.01 * abs(math.log2(rate / best)),
                "samples_to_target": 200_000 * (1 + abs(math.log2(rate / best)) / 4),
                "seeds": 3,
            }
            for rate in rates
        ],
    }


def write_range_test(directory: Path) -> None:
    for seed in (1_000_000, 1_000_001):
        with Records(directory / f"seed-{seed}") as records:
            for step in range(1, 60):
                lr = 1e-3 * 10 ** (step / 14)
                bad = lr > 2.6
                loss = 0.6 - 0.1 * min(1, step / 50) + (step % 3) * 0.005 + (2.0 if bad else 0)
                records.on_eval(EvalPoint(
                    step, step * 1000,
                    {"auc": 0.5 if bad else 0.5 + 0.005 * step, "log_loss": loss},
                    loss, lr, 0.9, 1.0,
                ))  # fmt: skip
    spread = {
        name: {"lowest": x, "median": 1.1 * x, "highest": 1.2 * x}
        for name, x in (("steepest", 0.4), ("valley", 0.6), ("minimum_tenth", 0.2), ("edge", 2.57))
    }
    data = {
        "suggestion": {"cycle_min_lr": 0.26, "cycle_max_lr": 2.6},
        "reason": "half the lowest edge",
        "spread": spread,
        "seeds": {},
    }
    (directory / "range_test.json").write_text(json.dumps(data))


def write_stairs(directory: Path, counts: Sequence[int] = (0, 5, 20)) -> Path:
    """A multirun over `cycle_first_stair_count`, as Hydra leaves it."""
    job = 0
    for count in counts:
        for seed in range(3):
            arm = f"onecycle gpus=8 schedule.cycle_first_stair_count={count} base_lr=0.2"
            samples = None if (count, seed) == (20, 2) else 230_000 * noise(arm, seed + count)
            schedule = {"name": "onecycle", "cycle_first_stair_count": count}
            where = directory / str(job)
            write_run_of(where, arm, seed, samples, schedule=schedule, arm_hash=f"stairs{count}")
            (where / ".hydra").mkdir()
            job += 1
    overrides = [
        "schedule=onecycle",
        "gpus=8",
        "schedule.cycle_first_stair_count=0,5,20",
        "seed=0,1,2",
    ]
    lines = "".join(f"    - {each}\n" for each in overrides)
    (directory / "multirun.yaml").write_text(f"hydra:\n  overrides:\n    task:\n{lines}")
    return directory
