"""scaling.json: what the points of each arm identify."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bsscale.critical_batch import Scaling

__all__ = ["scaling_json"]


def scaling_json(arms: Mapping[str, Scaling]) -> dict[str, Any]:
    """The content of scaling.json.

    Where an arm's critical batch is not identified, its numbers are null and its reason is a
    sentence; otherwise the reason is null. A censored point has null samples.
    """
    return {"arms": {name: _arm(found) for name, found in arms.items()}}


def _arm(found: Scaling) -> dict[str, Any]:
    known = found.identified and found.fit is not None and found.exponent is not None
    made = found.fit if known else None
    return {
        "critical_batch": None if made is None else made.curve.critical_batch,
        "critical_batch_interval": None if made is None else list(made.interval),
        "min_samples": None if made is None else made.curve.min_samples,
        "min_samples_interval": None if made is None else list(made.min_samples_interval),
        "exponent": found.exponent.value if known and found.exponent is not None else None,
        "identified": found.identified,
        "reason": found.reason,
        "points": [
            {
                "batch": _whole(point.batch),
                "seed": point.seed,
                "samples": None if point.samples is None else _whole(point.samples),
                "budget": None if point.budget is None else _whole(point.budget),
            }
            for point in found.points
        ],
    }


def _whole(value: float) -> float | int:
    """The number, without a fraction where it has none."""
    return int(value) if float(value).is_integer() else value
