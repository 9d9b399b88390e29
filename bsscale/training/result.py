"""The result of a run, in words for a person."""

from __future__ import annotations

from pathlib import Path

from bsscale.records.run_record import RunRecord
from bsscale.terminal.numbers import metric_number
from bsscale.terminal.words import status_words

__all__ = ["describe_result", "describe_result_briefly", "evaluation_warning"]


# A run that evaluates for longer than this, and for more than this share of its time, is warned of.
_MOST_EVAL_SHARE, _LONG_S = 0.5, 30.0


def describe_result(record: RunRecord, directory: Path) -> str:
    """The result of a run, one fact a line."""
    reached = f"missed: > {record.samples_seen:,} samples" if record.target is not None else "-"
    if record.samples_to_target is not None and record.samples_to_target_interval is not None:
        low, high = record.samples_to_target_interval
        reached = f"{record.samples_to_target:,.0f} samples (between {low:,} and {high:,})"
    target = "none"
    if record.target is not None:
        target = f"{record.criterion.title} {metric_number(record.target)}"
    best = f"{metric_number(record.best_value)} validation, {metric_number(record.test_value)} test"
    if record.best_possible is not None:
        best += f" (best possible {metric_number(record.best_possible)})"
    speed = "-" if record.samples_per_s is None else f"{_samples_per_s(record):,.0f} samples/s"
    rows = [
        ("status", f"{_status(record)}: {record.reason}"),
        ("target", target),
        ("to target", reached),
        (f"best {record.criterion.title}", best),
        ("samples seen", f"{record.samples_seen:,} in {record.steps:,} steps"),
        *([] if record.noise_scale_windows is None else [("noise scale", noise_words(record))]),
        ("speed", f"{speed}, {record.wall_s:.1f} s in all"),
        ("records", str(directory)),
    ]
    width = max(13, *(len(name) for name, _ in rows))
    return "\n".join(f"{name:>{width}}  {value}" for name, value in rows)


def _samples_per_s(record: RunRecord) -> float:
    """Training samples a second, the time of evaluations included."""
    return (record.samples_per_s or 0.0) * (1 - (record.eval_share or 0.0))


def evaluation_warning(record: RunRecord) -> str | None:
    """A warning for a run that was long and spent most of its time on evaluations."""
    share = record.eval_share or 0.0
    if share <= _MOST_EVAL_SHARE or share * record.wall_s < _LONG_S:
        return None
    return (
        f"evaluation took {share:.0%} of the time: evaluate less often "
        f"(eval_interval_samples={10 * record.eval_interval_samples}), fewer rows "
        "(dataset.validation_rows of a table), or train for longer: all held-out rows are scored "
        "once"
    )


def noise_words(record: RunRecord) -> str:
    """The gradient noise scale of a run, its interval and its groups."""
    text = _samples(record.noise_scale)
    if record.noise_scale_interval is not None:
        low, high = record.noise_scale_interval
        text += f" ({low:,.0f} {'or more' if high is None else f'to {high:,.0f}'})"
    groups = record.noise_scale_groups or {}
    if len(groups) > 1:
        text += "; " + ", ".join(f"{name} {_samples(value)}" for name, value in groups.items())
    return text + (f"; {record.noise_scale_note}" if record.noise_scale_note else "")


def _samples(value: float | None) -> str:
    return "not known" if value is None else f"{value:,.0f} samples"


def describe_result_briefly(record: RunRecord) -> str:
    """The result of a run on one line."""
    result = _status(record)
    if record.samples_to_target is not None:
        result += f" at {record.samples_to_target:,.0f} samples"
    elif record.status == "diverged":
        result += f" ({record.reason})"
    return (
        f"{record.arm} seed={record.seed}: {result}, best {record.criterion.title} "
        f"{metric_number(record.best_value)}, {record.wall_s:.1f} s"
    )


def _status(record: RunRecord) -> str:
    return status_words(record.status, record.target is not None)
