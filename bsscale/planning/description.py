"""A text that describes the plan of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import numpy.typing as npt

from bsscale.config import Config
from bsscale.data import ColumnFacts, Dataset
from bsscale.optimizers import OptimizerConfig
from bsscale.optimizers.cowclip import CowClip
from bsscale.planning.memory import describe_memory
from bsscale.planning.noise_scale import MICRO_BATCHES
from bsscale.planning.plan import Plan
from bsscale.planning.speed import describe_speed
from bsscale.schedules import OneCycle
from bsscale.terminal.numbers import metric_number
from bsscale.terminal.words import counted

__all__ = ["describe_data_notes", "describe_hours", "describe_plan"]

# From this number of columns on, only those with a note are listed.
_MANY_COLUMNS = 50


def describe_plan(plan: Plan, dataset: Dataset, arm: str) -> str:
    """The plan of a run, with one fact on each line."""
    batch = f"{plan.config.micro_batch} x {counted(plan.gpus, 'GPU')}"
    if plan.config.grad_accum > 1:
        batch += f" x {plan.config.grad_accum} accumulated"
    executor = f"{plan.executor} on {plan.device} ({plan.executor_reason})"
    if plan.processes > 1:
        executor += f", {plan.processes} processes x {plan.replicas_per_device} replicas"
    target = plan.target_source
    if plan.config.target is not None:
        target = f"{plan.metric.title} {metric_number(plan.config.target)} ({plan.target_source})"
    rows = [
        ("run", f"{arm}, seed {plan.config.seed}"),
        *(
            [
                ("executor", executor),
                ("step", f"{plan.training_step} ({plan.training_step_reason})"),
            ]
            if plan.config.trainer.described is None
            else [("trainer", plan.config.trainer.described)]
        ),
        *(
            []
            if plan.memory is None
            else [("memory", describe_memory(plan.memory, plan.processes))]
        ),
        *(
            []
            if plan.speed is None or plan.samples_per_pass is None
            else [("time", describe_speed(plan.speed, plan.global_batch, plan.samples_per_pass))]
        ),
        ("global batch", f"{plan.global_batch:,} samples ({batch})"),
        ("data", _describe_size(plan, dataset)),
        (
            "budget",
            f"{plan.budget_samples:,} samples = {plan.steps:,} steps, "
            f"evaluated every {plan.eval_interval_samples:,}",
        ),
        *([("noise scale", _describe_noise_scale(plan))] if plan.noise_scale_steps else []),
        ("objective", _describe_objective(plan, dataset)),
        ("base_lr", f"{plan.base_lr:g} ({plan.base_lr_source})"),
        ("scaling", _describe_scaling(plan)),
        ("schedule", _describe_rates(plan)),
        *([] if plan.average is None else [("average", _describe_average(plan))]),
        *([] if plan.cowclip is None else [("cowclip", _describe_cowclip(plan.cowclip))]),
        *((name, value) for name, value in _describe_phases(plan)),
        ("target", target),
    ]
    lines = [f"{name:>13}  {value}" for name, value in rows]
    lines += _describe_data(dataset.columns, dataset.notes)
    lines += [f"{'warning':>13}  {warning}" for warning in plan.warnings]
    return "\n".join(lines)


def describe_hours(samples: int, config: Config) -> str:
    """How long so many samples take, where the user knows the speed of a run; else empty."""
    speed = config.trainer.speed
    if speed is None:
        return ""
    at_once = config.workers if isinstance(config.workers, int) else 1
    return f", {samples / speed / at_once / 3600:.3g} hours"


def describe_data_notes(dataset: Dataset) -> str:
    """The columns that have a note, and the notes of the data set; empty where there are none."""
    noted = [column for column in dataset.columns if column.note]
    return "\n".join(_describe_data(noted, dataset.notes))


def _describe_size(plan: Plan, dataset: Dataset) -> str:
    known = plan.samples_per_pass
    size = "the script's" if known is None else f"{known:,} samples a pass"
    if not plan.config.trainer.ours:
        return size
    return f"{size}, {_validation(dataset)} validation, {len(dataset.test):,} test"


def _validation(dataset: Dataset) -> str:
    """The validation samples, and how many are evaluated during training."""
    count = f"{len(dataset.validation):,}"
    if not dataset.evaluates_some:
        return count
    return f"{len(dataset.evaluated):,} of {count} (all at the end)"


def _describe_data(columns: Sequence[ColumnFacts], notes: Sequence[str]) -> list[str]:
    rows = [*_describe_columns(columns), *(("note", note) for note in notes)]
    return [f"{name:>13}  {text}" for name, text in rows]


def _describe_columns(columns: Sequence[ColumnFacts]) -> list[tuple[str, str]]:
    """One row for each column; if there are many, for each column with a note."""
    shown = columns
    rows = []
    if len(columns) >= _MANY_COLUMNS:
        shown = [column for column in columns if column.note]
        counts = Counter(column.role for column in columns)
        rows.append(", ".join(f"{count:,} {role}" for role, count in counts.items()))
        if len(shown) > _MANY_COLUMNS:
            rows.append(f"{len(shown):,} have notes; the first {_MANY_COLUMNS}:")
            shown = shown[:_MANY_COLUMNS]
    width = min(max((len(column.name) for column in shown), default=0), 30)
    kind = max((len(column.type) for column in shown), default=0)
    for column in shown:
        ids = "" if column.cardinality is None else f"{column.cardinality:,} ids"
        missing = f"{100 * column.missing_share:.2g}% missing" if column.missing_share else ""
        note = f"<- {column.note}" if column.note else ""
        name = column.name or repr(column.name)
        parts = f"{name:<{width}}  {column.role:<11}  {column.type:<{kind}}  {ids:>11}"
        rows.append(f"{parts}  {missing:<13}  {note}".rstrip())
    return [("columns" if at == 0 else "", row) for at, row in enumerate(rows)]


def _describe_scaling(plan: Plan) -> str:
    """The factor of the rate and the changed options by the scaling rule, for each group."""
    options, own = plan.config.scaling, plan.config.schedule.scaling_rule
    by_schedule = [] if own in (None, "none") else [f"{own}, by the schedule"]
    if options.name == "none":
        return "; ".join(["none", *by_schedule])
    rule, ratio = options.build(), float(plan.gpus)
    dense, *others = plan.groups
    parts = [f"rate x {rule.dense.lr_factor(ratio):.4g}"] if rule.dense.lr else by_schedule
    if rule.warmup:
        parts = [*parts, f"warm-up x {ratio**rule.warmup:.4g} samples"]
    parts += _changed_options(plan.config.optimizer, dense.optimizer)
    for group in others:
        factor = group.lr_ratio * rule.dense.lr_factor(ratio)
        rate = f"rate x {factor:.4g}"
        if group.constant_lr is not None:
            rate = f"rate {group.constant_lr:g}, constant"
        own_options = _changed_options(plan.config.optimizer, group.optimizer)
        parts.append(f"{group.name}: {', '.join([rate, *own_options])}")
    return f"{options.name}: {'; '.join(parts)}" if parts else options.name


def _changed_options(before: OptimizerConfig, after: OptimizerConfig) -> list[str]:
    options = [(key, value, getattr(after, key)) for key, value in asdict(before).items()]
    return [f"{key} {a:.4g} -> {b:.4g}" for key, a, b in options if a != b]


def _describe_noise_scale(plan: Plan) -> str:
    """How often the gradient noise scale is measured, and on which gradients."""
    steps = plan.noise_scale_steps
    extra = len(steps) * MICRO_BATCHES * plan.config.micro_batch / plan.budget_samples
    kind = plan.config.optimizer.second_moment
    gradients = "gradients" if kind is None else f"gradients preconditioned by {kind}"
    return (
        f"{counted(len(steps), 'window')} of {MICRO_BATCHES} x {plan.config.micro_batch} samples, "
        f"from step {steps[0]:,} to {steps[-1]:,}: {100 * extra:.1f}% more micro-batches; "
        f"{gradients}"
    )


def _describe_average(plan: Plan) -> str:
    """What is evaluated in the place of the weights."""
    assert plan.average is not None
    half_life = plan.average.half_life_samples
    decay = 1 - plan.average.weight(1, plan.global_batch)
    return (
        f"of the weights, half-life {half_life:,} samples (decay {decay:.6g} an update); it is "
        "evaluated and kept"
    )


def _describe_cowclip(rule: CowClip) -> str:
    """What the gradient of a row is clipped to."""
    low = rule.ratio * rule.bound
    return (
        f"each row of an embedding table to occurrences x {rule.ratio:g} x its norm, which counts "
        f"as {low:g} x sqrt(columns) at least"
    )


def _describe_objective(plan: Plan, dataset: Dataset) -> str:
    """The objective, and the metric that judges the run."""
    better = "higher" if plan.direction == "max" else "lower"
    text = f"{plan.objective.name}, judged by {plan.metric.title} ({better} is better)"
    if not dataset.is_weighted:
        return text
    metrics = plan.objective.metrics.values()
    those = [metric.title for metric in metrics if metric.takes_weights]
    others = [metric.title for metric in metrics if not metric.takes_weights]
    return f"{text}; weights in the loss, {' and '.join(those)}, not in {' or '.join(others)}"


def _describe_rates(plan: Plan) -> str:
    """The learning rate and the momentum at the start, the turning points and the end."""
    steps = np.arange(plan.steps)
    cycle_end = plan.schedule.end_step if isinstance(plan.schedule, OneCycle) else None
    text = "lr " + _turns(plan.schedule.lr(steps), cycle_end)
    momentum = plan.schedule.momentum(steps)
    return text if momentum is None else f"{text}; momentum {_turns(momentum, cycle_end)}"


def _turns(values: npt.NDArray[np.float64], cycle_end: int | None) -> str:
    """Such as "0.2, rise to 2 (step 77), fall to 0.2 (256), then decay to 0.18 (2,047)"."""
    final = len(values) - 1
    low, high = sorted((values[0], values[final]))
    top, bottom = int(np.argmax(values)), int(np.argmin(values))
    turns = {top} if values[top] > high else set()
    turns |= {bottom} if values[bottom] < low else set()
    if cycle_end is not None and cycle_end < final and turns:
        turns.add(cycle_end)
    if turns or values[final] != values[0]:
        turns.add(final)
    text, before = f"{values[0]:.4g}", float(values[0])
    for number, step in enumerate(sorted(turns)):
        value, at = float(values[step]), f"{'' if number else 'step '}{step:,}"
        after_cycle = cycle_end is not None and step > cycle_end
        if value == before:
            text += ", then the same"
        else:
            way = "rise" if value > before else "then decay" if after_cycle else "fall"
            text += f", {way} to {value:.4g} ({at})"
        before = value
    return text


def _describe_phases(plan: Plan) -> list[tuple[str, str]]:
    """One row for each phase of the schedule: its first step and sample, and its stairs."""
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
