"""The settings of the arms, their versions, and what the runs cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bsscale.report.comparison import Comparison
from bsscale.report.read import FoundStudy
from bsscale.report.tables import Table
from bsscale.terminal.words import counted

__all__ = ["cost", "settings", "title_of", "versions_table"]


def settings(comparison: Comparison) -> tuple[Table, Table]:
    """The configuration: what the arms differ in, and what they have in common."""
    configs = [_flat(arm.record.config) for arm in comparison.arms]
    for config, arm in zip(configs, comparison.arms, strict=True):
        record = arm.record
        rate = "-" if record.base_lr is None else f"{record.base_lr:g}"
        config |= {"base_lr": rate, "global_batch": _count(record.global_batch)}
        config |= {"target": "none" if record.target is None else f"{record.target:g}"}
        budget = "not known" if arm.imported else f"{record.budget_samples:,}"
        config |= {"gpus": _count(record.gpus), "budget_samples": budget}
        config |= {"eval_interval_samples": f"{record.eval_interval_samples:,}"}
    keys = sorted({key for config in configs for key in config})
    differ = [key for key in keys if len({config.get(key) for config in configs}) > 1]
    header = ("setting", *(arm.short for arm in comparison.arms))
    rows = [[key, *(config.get(key, "") for config in configs)] for key in differ]
    common = [[key, configs[0][key]] for key in keys if key not in differ]
    return (
        Table("What the arms differ in", header, rows),
        Table("What all arms have in common", ("setting", "value"), common),
    )


def _count(number: int) -> str:
    return str(number) if number else "not known"


def title_of(comparison: Comparison) -> str:
    """The data, the model and the numbers of GPUs; empty where the records do not name the data.

    Such as "flights, dlrm, 1 and 8 GPUs". Scripts of the user's own may record neither.
    """
    records = [arm.record for arm in comparison.arms]
    names = [
        " and ".join(dict.fromkeys(str(name) for name in values if name))
        for values in ([each.dataset for each in records], [each.model for each in records])
    ]
    if not all(names):
        return ""
    gpus = sorted({record.gpus for record in records})
    counts = ", ".join(map(str, gpus[:-1])) + " and " if len(gpus) > 1 else ""
    return ", ".join([*names, f"{counts}{counted(gpus[-1], 'GPU')}"])


_NOT_SETTINGS = ("seed", "tracker", "task", "dry_run", "noise_scale")


def _flat(config: Mapping[Any, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in _NOT_SETTINGS or value is None:
            continue
        if isinstance(value, Mapping):
            found |= _flat(value, f"{name}.")
        else:
            found[name] = str(value)
    return found


def versions_table(comparison: Comparison) -> Table:
    """The settings of the runs; several values if the runs differ."""
    values: dict[str, dict[str, None]] = {}
    for arm in comparison.arms:
        for run in arm.runs:
            for key, value in _flat(run.record.environment).items():
                values.setdefault(key, {})[value] = None
    rows = [[key, "; ".join(values[key])] for key in values]
    return Table("Versions and machine", ("what", "value"), rows)


def cost(comparison: Comparison, studies: Sequence[FoundStudy]) -> str:
    """The cost of the shown runs, and of each whole study."""
    runs = [run.record for arm in comparison.arms for run in arm.runs]
    seconds = sum(run.wall_s for run in runs)
    spent = f"{_duration(seconds)} of training" if seconds else "the time is not recorded"
    text = f"{len(runs)} runs, {sum(run.samples_seen for run in runs):,} samples, {spent}."
    for study in studies:
        cost = study.record.cost
        text += (
            f" {study.record.name} in all, tuning included: {cost.samples:,} samples, "
            f"{_duration(cost.wall_s)}."
        )
    return text


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
