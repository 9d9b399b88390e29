"""What a command prints at its end: a short table of the arms, and the answer in three lines."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bsscale.report.answer import Answer
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.tables import best_value, interval, missed, number, samples, times
from bsscale.terminal.tables import render_table

__all__ = ["WIDTH", "closing_lines", "closing_table"]

WIDTH = 80
"""The most columns of the table; a narrower terminal has fewer."""


def closing_table(comparison: Comparison) -> str:
    """The arms by their samples to the target, the fewest first; at most 80 columns wide."""
    judged = any(arm.target is not None for arm in comparison.arms)
    failed = any(arm.failed for arm in comparison.arms)
    compared = any(arm.baseline is not None for arm in comparison.arms)
    header = ["arm", "reached"]
    header += ["failed"] if failed else []
    header += ["median samples"] if judged else [best_value(comparison.criteria)]
    header += ["ratio", "interval"] if compared else []
    rows = []
    for arm in sorted(comparison.arms, key=_place):
        row = [arm.short + _mark(arm), _reached(arm)]
        row += [str(arm.failed)] if failed else []
        row += [_median(arm)] if judged else [number(arm.median_best_value)]
        row += _ratio(arm) if compared else []
        rows.append(row)
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    return render_table("", header, rows, min(columns, WIDTH))


def closing_lines(answers: Sequence[Answer], page: Path) -> str:
    """Three lines for each answer: what to use, how sure that is, and what to do next."""
    said = []
    for answer in answers:
        said += [("use", f"{answer.headline}."), ("sure", " ".join(answer.sentences))]
        if answer.next is not None:
            what = "make it surer" if answer.kind in ("tie", "few_seeds") else answer.next.says
            said += [("next", f"{what}: {command}") for command in answer.next.commands]
        elif answer.use is not None:
            said.append(("next", f"train it: {answer.use.command}"))
    said.append(("page", f"open {page}"))
    return "\n".join(f"{name:>5}  {text}" for name, text in said)


def _place(arm: ArmSummary) -> tuple[int, float, float]:
    """The target first, so that arms of one target stay together; then the samples."""
    median = math.inf if arm.samples_to_target is None else arm.samples_to_target.median
    value = arm.median_best_value
    return (
        0 if arm.target is not None else 1,
        median,
        math.inf if value is None else -arm.criterion.sign * value,
    )


def _mark(arm: ArmSummary) -> str:
    return " (control)" if arm.role == "control" else " (baseline)" if arm.is_baseline else ""


def _reached(arm: ArmSummary) -> str:
    diverged = arm.counts.get("diverged", 0)
    text = f"{arm.counts.get('reached', 0)}/{arm.trained}"
    return f"{text}, {diverged} diverged" if diverged else text


def _median(arm: ArmSummary) -> str:
    spread = arm.samples_to_target
    if spread is None:
        return "-"
    return missed(arm) if math.isinf(spread.median) else samples(spread.median)


def _ratio(arm: ArmSummary) -> list[str]:
    """The ratio to the baseline and its interval."""
    if arm.is_baseline:
        return ["1", ""]
    estimate = arm.judged or arm.ratio
    if estimate is None or math.isnan(estimate.ratio):
        return ["-", "-"]
    return [times(estimate.ratio), interval(estimate)]
