"""noise_scale.jsonl: what a script has measured of its gradients, one line a window."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bsscale.bridge.channel import Lines
from bsscale.critical_batch.noise_scale import Moments, moments, noise_scale
from bsscale.errors import ScriptError
from bsscale.files.replace import replace_text
from bsscale.training.noise_meter import RECENT_WINDOWS, noise_fields

__all__ = ["NoiseWindows", "measured", "recorded_noise"]

WINDOWS = "noise_scale.jsonl"
_KEYS = {"samples", "squared_gradient", "trace"}


def measured(
    small_squared_norms: Sequence[float] | float,
    large_squared_norm: float,
    small_batch: int,
    large_batch: int,
) -> Moments | None:
    """The estimates of one window; None for norms that are not finite, of a run that diverges.

    Raises
    ------
    ScriptError
        For batches or norms from which nothing follows.
    """
    try:
        given = [float(each) for each in small_squared_norms]  # type: ignore[union-attr]
    except TypeError:
        given = [float(small_squared_norms)]  # type: ignore[arg-type]
    norms = [*given, float(large_squared_norm)]
    if not given or any(norm < 0 for norm in norms):
        raise ScriptError(
            f"run.noise_scale was given the squared norms {given} and {large_squared_norm}",
            "give the squared L2 norms of one or more gradients of small batches, and that of the "
            "gradient of a large batch",
        )
    try:
        found = moments(sum(given) / len(given), norms[-1], small_batch, large_batch)
    except ValueError as error:
        raise ScriptError(
            f"run.noise_scale: {error}",
            "give the samples behind each small gradient, and those behind the large one, such as "
            "the average over all replicas",
        ) from None
    return found if all(map(math.isfinite, norms)) else None


class NoiseWindows:
    """The windows of a run in its directory, written with the report that follows them.

    Parameters
    ----------
    directory
        The run's.
    resumed
        Whether an earlier start has begun the run; otherwise nothing earlier is kept.
    """

    def __init__(self, directory: Path, resumed: bool) -> None:
        self._path = directory / WINDOWS
        self._lines = _read(self._path) if resumed else []
        self._begun = False
        self._new: list[Moments] = []

    def add(self, window: Moments) -> None:
        """Keep a window until the next report."""
        self._new.append(window)

    def at_report(self, samples: int) -> float | None:
        """The noise scale of the last windows, if there is a new one since the last report.

        At the first report of a start, windows of an earlier start that lie after it are taken
        back, as its evaluations are.
        """
        kept = self._lines
        if not self._begun:
            kept = [line for line in self._lines if line["samples"] < samples]
        added = [
            {"samples": samples, "squared_gradient": w.squared_gradient, "trace": w.trace}
            for w in self._new
        ]
        if len(kept) < len(self._lines):  # (only before the first report)
            replace_text(self._path, _text(kept))
        self._lines, self._begun, self._new = kept + added, True, []
        if not added:
            return None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_text(added))
        recent = self._lines[-RECENT_WINDOWS:]
        return noise_scale([Moments(w["squared_gradient"], w["trace"]) for w in recent]).samples


def recorded_noise(directory: Path) -> dict[str, Any]:
    """The fields of run.json about the noise scale; empty if the script has measured nothing."""
    lines = _read(directory / WINDOWS)
    if not lines:
        return {}
    return noise_fields([Moments(w["squared_gradient"], w["trace"]) for w in lines])


def _text(lines: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def _read(path: Path) -> list[dict[str, Any]]:
    return [line for line in Lines(path).new() if line.keys() == _KEYS]
