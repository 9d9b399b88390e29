"""task=show_schedule: a schedule's learning rate and momentum over samples, without training."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bsscale.errors import RecordsError
from bsscale.files.replace import write_json
from bsscale.planning.plan import Plan
from bsscale.report.drawing import save, svg
from bsscale.report.figures import draw_lines, schedule_chart

__all__ = ["overlay", "show_schedule"]

log = logging.getLogger(__name__)

# Enough for every stair that a picture can show.
MOST_POINTS = 2000


def show_schedule(plan: Plan, label: str, show_samples: int | None, directory: Path) -> None:
    """Draw a plan's schedule in the terminal, and write schedule.json, .png and .svg.

    Parameters
    ----------
    plan
        The run's numbers.
    label
        What to call the curve.
    show_samples
        How far to draw, in samples; None: one pass, or as much longer as the shape is.
    directory
        Where to write.
    """
    samples = show_samples or max(
        plan.samples_per_pass or 0, round(1.1 * plan.schedule.length * plan.global_batch)
    )
    steps = min(max(2, round(samples / plan.global_batch)), plan.steps)
    chosen = np.unique(np.linspace(0, steps - 1, min(steps, MOST_POINTS)).astype(int))
    rates = plan.schedule.lr(chosen).tolist()
    momenta = plan.schedule.momentum(chosen)
    momentum: list[float | None] = (
        [None] * len(chosen) if momenta is None else list(momenta.tolist())
    )
    points = [
        {"schedule": label, "samples": int(step) * plan.global_batch, "lr": lr, "momentum": m}
        for step, lr, m in zip(chosen, rates, momentum, strict=True)
    ]
    write_json(directory / "schedule.json", points)
    _draw(points, directory / "schedule")


def overlay(directories: Sequence[Path], target: Path) -> None:
    """Draw the schedules of several jobs over each other.

    Parameters
    ----------
    directories
        Where `show_schedule` wrote.
    target
        Where to write the overlay.
    """
    points: list[dict[str, Any]] = []
    for directory in directories:
        path = directory / "schedule.json"
        try:
            points += json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RecordsError(f"{path} cannot be read: {error}", "draw it again") from error
    _draw(points, target / "schedules")


def _draw(points: Sequence[dict[str, Any]], stem: Path) -> None:
    for title, key in (("learning rate over samples", "lr"), ("momentum over samples", "momentum")):
        curves: dict[str, tuple[list[float], list[float]]] = {}
        for point in points:
            if point[key] is not None:
                x, y = curves.setdefault(point["schedule"], ([], []))
                x.append(point["samples"])
                y.append(point[key])
        if curves:
            log.info("%s", draw_lines(title, curves))
    for path in save(svg(schedule_chart(points)), stem):
        log.info("figure  %s", path)
