"""What a person sees of a run: the plan before it, its progress, and its result."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from bsscale.data import Dataset
from bsscale.plan import Plan
from bsscale.records import RunRecord
from bsscale.schedules import OneCycle

__all__ = [
    "describe_plan",
    "describe_result",
    "describe_result_briefly",
    "render_table",
]


def describe_plan(plan: Plan, dataset: Dataset, arm: str) -> str:
    """The plan of a run, one fact a line."""
    batch = f"{plan.micro_batch} x {plan.gpus} gpus"
    if plan.grad_accum > 1:
        batch += f" x {plan.grad_accum} accumulated"
    executor = f"{plan.executor} on {plan.device} ({plan.executor_reason})"
    if plan.processes > 1:
        executor += f", {plan.processes} processes x {plan.replicas_per_device} replicas"
    target = plan.target_source
    if plan.target is not None:
        target = f"AUC {plan.target:.4f} ({plan.target_source})"
    rows = [
        ("run", f"{arm}, seed {plan.seed}"),
        ("executor", executor),
        ("step", f"{plan.training_step} ({plan.training_step_reason})"),
        ("global batch", f"{plan.global_batch:,} samples ({batch})"),
        (
            "data",
            f"{plan.samples_per_pass:,} samples a pass, "
            f"{len(dataset.validation):,} validation, {len(dataset.test):,} test",
        ),
        (
            "budget",
            f"{plan.budget_samples:,} samples = {plan.steps:,} steps, "
            f"evaluated every {plan.eval_interval_samples:,}",
        ),
        ("base_lr", f"{plan.base_lr:g} ({plan.base_lr_source})"),
        ("schedule", _describe_rates(plan)),
        *((name, value) for name, value in _describe_phases(plan)),
        ("target", target),
    ]
    lines = [f"{name:>13}  {value}" for name, value in rows]
    lines += [f"{'note':>13}  {note}" for note in dataset.notes]
    lines += [f"{'warning':>13}  {warning}" for warning in plan.warnings]
    return "\n".join(lines)


def _describe_rates(plan: Plan) -> str:
    """Where the learning rate and the momentum start, turn and end within the budget."""
    steps = np.arange(plan.steps)
    text = "lr " + _turns(plan.schedule.lr(steps))
    momentum = plan.schedule.momentum(steps)
    return text if momentum is None else f"{text}; momentum {_turns(momentum)}"


def _turns(values: npt.NDArray[np.float64]) -> str:
    first, last = values[0], values[-1]
    top, bottom = int(np.argmax(values)), int(np.argmin(values))
    parts = [f"{first:.4g}"]
    if values[top] > max(first, last):
        parts.append(f"{values[top]:.4g} at step {top:,}")
    if values[bottom] < min(first, last):
        parts.append(f"{values[bottom]:.4g} at step {bottom:,}")
    if len(parts) > 1 or last != first:
        parts.append(f"{last:.4g} at step {len(values) - 1:,}")
    return " -> ".join(parts)


def _describe_phases(plan: Plan) -> list[tuple[str, str]]:
    """One row a phase of the schedule: the step and the sample at which it begins, its stairs."""
    schedule = plan.schedule
    levels = (
        dict(zip(("rise", "fall"), schedule.levels(), strict=True))
        if isinstance(schedule, OneCycle)
        else {}
    )
    rows = []
    for name, start in schedule.phases():
        text = f"from step {start:,} (sample {start * plan.global_batch:,})"
        if name in levels:
            text += f", {levels[name]:,} levels"
        rows.append((name, text))
    return rows


def describe_result(record: RunRecord, directory: Path) -> str:
    """The result of a run, one fact a line."""
    reached = "not reached (censored)" if record.target is not None else "-"
    if record.samples_to_target is not None and record.samples_to_target_interval is not None:
        low, high = record.samples_to_target_interval
        reached = f"{record.samples_to_target:,.0f} samples (between {low:,} and {high:,})"
    target = "none" if record.target is None else f"{record.target:.4f}"
    best = f"{_number(record.best_auc)} validation, {_number(record.test_auc)} test at the end"
    if record.best_possible_auc is not None:
        best += f" (best possible {record.best_possible_auc:.4f})"
    speed = "-" if record.samples_per_s is None else f"{record.samples_per_s:,.0f} samples/s"
    rows = [
        ("status", f"{record.status}: {record.reason}"),
        ("target AUC", target),
        ("to target", reached),
        ("best AUC", best),
        ("samples seen", f"{record.samples_seen:,} in {record.steps:,} steps"),
        ("speed", f"{speed}, {record.wall_s:.1f} s in all"),
        ("records", str(directory)),
    ]
    return "\n".join(f"{name:>13}  {value}" for name, value in rows)


def describe_result_briefly(record: RunRecord) -> str:
    """The result of a run on one line."""
    result = record.status
    if record.samples_to_target is not None:
        result += f" at {record.samples_to_target:,.0f} samples"
    elif record.status == "diverged":
        result += f" ({record.reason})"
    return (
        f"{record.arm} seed={record.seed}: {result}, best AUC {_number(record.best_auc)}, "
        f"{record.wall_s:.1f} s"
    )


def render_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as text, no wider than the terminal; as wide as it needs when piped.

    Where the terminal is too narrow for all columns, each row is a block with a line a column.
    """
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    for index, name in enumerate(header):
        # What is folded where it is narrow is the name of the row, not a number.
        words = " ".join([name, *(row[index] for row in rows)]).split() if index else []
        table.add_column(
            name,
            justify="right" if index else "left",
            overflow="fold",
            min_width=max(map(len, words), default=None),
        )
    for row in rows:
        table.add_row(*row)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 200
    console = Console(file=io.StringIO(), width=width)
    unbounded = console.options.update(width=10_000)  # (else the measure is cut to the console's)
    if console.measure(table, options=unbounded).minimum > width:
        longest = max(map(len, header))
        blocks = [
            "\n".join(f"{name:>{longest}}  {cell}" for name, cell in zip(header, row, strict=True))
            for row in rows
        ]
        return "\n\n".join([*([title] if title else []), *blocks])
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().rstrip().splitlines())


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
