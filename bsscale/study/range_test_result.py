"""What a range test has found: files, figures, and words."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bsscale.config import Config
from bsscale.files.replace import replace_text, write_json
from bsscale.planning.baselines import find
from bsscale.planning.plan import Plan
from bsscale.records.schema import FORMAT_VERSION
from bsscale.report.charts.range_test import suggestion_chart
from bsscale.report.drawing import save, svg
from bsscale.report.figures import draw_lines
from bsscale.stats.evidence import Nothing
from bsscale.stats.range_test import Curve, Estimates, Suggestion, spreads
from bsscale.terminal.tables import render_table

__all__ = ["Found", "base_lr_to_give", "write_result"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """The curves of a range test, and what follows from them.

    Attributes
    ----------
    curves, readings
        By seed.
    suggestion
        A cycle, or why there is none.
    """

    curves: Mapping[int, Curve]
    readings: Mapping[int, Estimates]
    suggestion: Suggestion | Nothing


def write_result(
    found: Found, plan: Plan, training: Mapping[str, Any], base_lr: float | None, directory: Path
) -> None:
    """Show a range test, and write range_test.json, the preset and the figures.

    Parameters
    ----------
    found
        What it has found.
    plan
        Of one of its runs.
    training
        A description of the training of its runs.
    base_lr
        The base_lr that overrides need because none ships; None: one ships.
    directory
        Where to write.
    """
    gpus, criterion, suggestion = plan.gpus, plan.metric.criterion, found.suggestion
    spread = spreads(list(found.readings.values()))
    _show_curves(found, plan, spread)
    data: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "metric": criterion.name,
        "direction": criterion.direction,
        "loss": plan.objective.loss,
        "training": dict(training),
        "suggestion": None if isinstance(suggestion, Nothing) else suggestion.preset(),
        "reason": suggestion.reason,
        "spread": {
            k: dict(zip(("lowest", "median", "highest"), v, strict=True)) for k, v in spread.items()
        },
        "seeds": {
            str(seed): {
                "steepest": reading.steepest,
                "valley": reading.valley,
                "minimum_tenth": reading.minimum_tenth,
                "edge": reading.edge.lr,
                "diverged": reading.edge.diverged,
                "sign": reading.edge.reason,
            }
            for seed, reading in found.readings.items()
        },
    }
    if isinstance(suggestion, Nothing):
        log.info("suggestion  none: %s", suggestion.reason)
    else:
        log.info("suggestion  %s", suggestion.reason)
        if gpus == 1:
            grid = _base_lr_grid(found.readings)
            data["base_lr_grid"] = grid
            log.info("to tune base_lr  base_lr=%s", ",".join(f"{rate:g}" for rate in grid))
        preset = directory / "preset.yaml"
        lines = [f"{key}: {value}" for key, value in suggestion.preset().items()]
        text = f"# From a range test: {suggestion.reason}.\n" + "\n".join(lines) + "\n"
        replace_text(preset, text)
        # Nothing in a cycle follows from base_lr once its rates are given, but a run has one.
        given = "" if base_lr is None else f"base_lr={base_lr:g} "
        own = f"schedule=onecycle gpus={gpus} {given}"
        log.info("as overrides  %s%s", own, suggestion.overrides())
        log.info("as a preset  %sschedule.preset=%s", own, preset)
    if any(np.isfinite(curve.values).any() for curve in found.curves.values()):
        cycle = None if isinstance(suggestion, Nothing) else suggestion
        edge = spread["edge"][0]
        chart = suggestion_chart(found.curves, cycle, edge, criterion, plan.objective.loss)
        for path in save(svg(chart), directory / "range_test"):
            log.info("figure  %s", path)
    # The last file: a study takes a range test for made once it is there.
    write_json(directory / "range_test.json", data)


def base_lr_to_give(config: Config, suggestion: Suggestion | Nothing) -> float | None:
    """The base_lr that a run with a suggestion must be given; None if it has one already."""
    if config.base_lr is not None or isinstance(suggestion, Nothing):
        return config.base_lr
    return suggestion.cycle_min_lr if find(config).baseline is None else None


def _show_curves(
    found: Found, plan: Plan, spread: Mapping[str, tuple[float, float, float]]
) -> None:
    rows = [[name, *(f"{value:.3g}" for value in values)] for name, values in spread.items()]
    table = render_table("", ("reading", "lowest", "median", "highest"), rows)
    finite = {
        f"seed {seed}": (curve.lr[keep].tolist(), curve.values[keep].tolist())
        for seed, curve in found.curves.items()
        if (keep := np.isfinite(curve.values)).any()
    }
    title = f"validation {plan.metric.criterion.title} over learning rate"
    if finite:
        log.info("\n%s", draw_lines(title, finite, log_x=True))
    log.info("\n%s\n", table)


def _base_lr_grid(readings: Mapping[int, Estimates]) -> list[float]:
    """Seven rates, a factor 2 apart, up to the lowest edge: constant rates work well below it."""
    edge = min(reading.edge.lr for reading in readings.values())
    return [float(f"{edge / 2**power:.2g}") for power in range(7, 0, -1)]
