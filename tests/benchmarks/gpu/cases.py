"""Cases that are measured one after the other; none stops the next."""

from __future__ import annotations

import gc
import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Facts = dict[str, Any]


class Cases:
    """Measures cases, and writes a line of JSON for each.

    Parameters
    ----------
    phase
        The name of what they belong to.
    path
        The file that lines are added to.
    device
        cuda or cpu.

    Attributes
    ----------
    small
        Whether every case should take no more than a second or two.
    done, failed
        Numbers of cases.
    """

    def __init__(self, phase: str, path: Path, device: str) -> None:
        self.device = torch.device(device)
        self.small = device == "cpu"
        self.done = self.failed = 0
        self._phase, self._path = phase, path
        gc.freeze()  # what is imported stays, and collections take no time for it

    def measure(self, name: str, case: Callable[[], Facts]) -> Facts:
        """Measure one case; its facts, or none if it failed.

        Facts may say ``ok=False``: the case was measured, and the result is not as it should be.
        """
        started = time.perf_counter()
        try:
            facts = {"ok": True, **case()}
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            facts = {"ok": False, "error": text, "traceback": traceback.format_exc()}
        line = {"phase": self._phase, "case": name, "device": self.device.type, **facts}
        line["case_s"] = round(time.perf_counter() - started, 2)
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.done += 1
        self.failed += not facts["ok"]
        shown = {k: v for k, v in facts.items() if k not in ("ok", "traceback", "table")}
        print(f"{'ok  ' if facts['ok'] else 'FAIL'} {name}: {_short(shown)}", flush=True)
        if "table" in facts:
            print(facts["table"], flush=True)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return facts if "error" not in facts else {}

    def compare(self, name: str, what: str, value: float | None, goal: float, most: bool) -> None:
        """Print a figure beside its goal; `most`: whether the goal is a limit from above."""
        met = None if value is None else value <= goal if most else value >= goal
        line = {"phase": self._phase, "goal": name, "value": value, "limit": goal, "met": met}
        with self._path.open("a") as file:
            file.write(json.dumps(line | {"device": self.device.type}) + "\n")
        found = "was not measured" if value is None else f"is {value:.2f}"
        judged = {None: "unknown", True: "met", False: "NOT MET"}[met]
        sign = "<=" if most else ">="
        print(f"GOAL {name}: {what} {found}, goal {sign} {goal:g}: {judged}", flush=True)


def _short(facts: Facts) -> str:
    return ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in facts.items()
    )


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(device: torch.device, work: Callable[[], object], times: int = 1) -> float:
    """Wall time of one of `times` repetitions."""
    synchronize(device)
    started = time.perf_counter()
    for _ in range(times):
        work()
    synchronize(device)
    return (time.perf_counter() - started) / times


def median_seconds(device: torch.device, work: Callable[[], object], times: int) -> float:
    """Median wall time of `times` repetitions, after one that is not counted."""
    work()
    measured = sorted(seconds(device, work) for _ in range(times))
    return measured[len(measured) // 2]
