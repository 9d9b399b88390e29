"""What a command prints at its end: a short table of the arms, and the answer."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from bsscale.report.answer import Answer
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.ratio_words import ratio_title, ratio_words
from bsscale.report.tables import best_value, missed, number, samples
from bsscale.terminal.tables import render_table

__all__ = ["WIDTH", "closing_lines", "closing_table"]

WIDTH = 80
"""The most columns of the table and of sentences; a narrower terminal has fewer."""
# Answers with more to do that say what to use until then.
_CHOSEN = ("tie", "nothing_helps", "no_baseline", "few_seeds")


def closing_table(comparison: Comparison) -> str:
    """The arms by their samples to the target, the fewest first; at most 80 columns wide."""
    judged = any(arm.target is not None for arm in comparison.arms)
    failed = any(arm.failed for arm in comparison.arms)
    compared = any(arm.baseline is not None for arm in comparison.arms)
    header = ["arm", "reached"]
    header += ["failed"] if failed else []
    header += ["median samples"] if judged else [best_value(comparison.criteria)]
    header += [ratio_title(comparison)] if compared else []
    rows = []
    for arm in sorted(comparison.arms, key=_place):
        row = [arm.short + _mark(arm), _reached(arm)]
        row += [str(arm.failed)] if failed else []
        row += [_median(arm)] if judged else [number(arm.median_best_value)]
        row += [ratio_words(arm)] if compared else []
        rows.append(row)
    return render_table("", header, rows, _columns())


def closing_lines(answers: Sequence[Answer], page: Path) -> str:
    """Each answer, how sure it is, and what to do next; a command has a line of its own."""
    said = []
    for answer in answers:
        said += [_line("answer", f"{answer.headline}."), _line("sure", " ".join(answer.sentences))]
        if answer.next is not None:
            said += _commands("next", answer.next.says, answer.next.commands)
        command = None if answer.use is None else answer.use.command
        if answer.use and command and (answer.next is None or answer.kind in _CHOSEN):
            said += _commands("use", f"Train as {answer.use.arm} did", [command])
    return "\n".join([*said, f"{'page':>6}  open {page}"])


def _line(name: str, text: str) -> str:
    """A sentence below a name, in as many lines as the terminal needs."""
    return textwrap.fill(
        text, _columns(), initial_indent=f"{name:>6}  ", subsequent_indent=" " * 8,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _commands(name: str, says: str, commands: Sequence[str]) -> list[str]:
    """What to do, and its commands; these are not broken, so that they can be copied."""
    return [_line(name, says + (":" if commands else ".")), *(" " * 8 + each for each in commands)]


def _columns() -> int:
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    return max(min(columns, WIDTH), 24)


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
