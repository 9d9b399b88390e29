"""The outcome of a run, and its record."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bsscale.data import Dataset
from bsscale.errors import RecordsError
from bsscale.objectives.target import Crossing
from bsscale.records.checkpoints import read_began
from bsscale.records.environment import describe_environment
from bsscale.records.evaluation import read_evals
from bsscale.records.identity import arm_hash
from bsscale.records.run_record import Column, RunRecord, write_run
from bsscale.records.secrets import without_secrets
from bsscale.training.spec import RunSpec

__all__ = ["Outcome", "first_line", "record_failure", "record_of"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    Attributes
    ----------
    status
        reached, exhausted, diverged or failed.
    reason
        Why, in a sentence.
    crossing
        Where the target was reached and confirmed, or None.
    best_value, final_value
        The metric's best and last value over the evaluations; None where none is defined.
    test_value
        The metric on the test split, at the first confirmed hit; at the end where there is none;
        None for a run that diverged.
    steps, samples_seen
        Updates made, and their samples.
    wall_s, eval_s
        Seconds from the start of the run to its end, and the part of them that evaluations took.
    noise
        The fields of the record about the gradient noise scale, if it was measured.
    """

    status: str
    reason: str
    crossing: Crossing | None
    best_value: float | None
    final_value: float | None
    test_value: float | None
    steps: int
    samples_seen: int
    wall_s: float
    eval_s: float
    noise: Mapping[str, Any] = field(default_factory=dict)


def record_of(
    spec: RunSpec, outcome: Outcome, dataset: Dataset | None, width: int = 1
) -> RunRecord:
    """The record of a run that has ended.

    Parameters
    ----------
    spec, outcome
        The run, and how it ended.
    dataset
        Its data; None where they could not be loaded.
    width
        Width of the stack that it was trained in.
    """
    plan, config = spec.plan, spec.plan.config
    resolved = without_secrets(asdict(config))
    crossing = outcome.crossing
    training_s = outcome.wall_s - outcome.eval_s
    measured = outcome.status != "failed"
    fields: dict[str, Any] = {
        name: getattr(source, name)
        for source in (config, plan, outcome, spec)
        for name in RunRecord.__struct_fields__
        if hasattr(source, name)
    }
    return RunRecord(
        **{
            **fields,
            "arm_hash": arm_hash(resolved),
            "began": read_began(spec.directory),
            "metric": plan.metric.name,
            "direction": plan.direction,
            "samples_to_target_interval": None if crossing is None else crossing.interval,
            "samples_to_target": None if crossing is None else crossing.samples,
            "best_possible": dataset.best_possible
            if dataset is not None and plan.metric.name == "auc"
            else None,
            "schedule": config.schedule.name,
            "scaling": plan.scaling,
            "optimizer": config.optimizer.name if config.trainer.ours else None,
            "model": config.model["name"],
            "dataset": config.dataset["name"],
            "objective": plan.objective.name,
            "trainer": "bsscale" if config.trainer.ours else "script",
            "columns": _columns(dataset) if dataset is not None and config.trainer.ours else None,
            "samples_per_s": outcome.samples_seen / training_s
            if measured and training_s > 0
            else None,
            "eval_share": outcome.eval_s / outcome.wall_s
            if measured and outcome.wall_s > 0
            else None,
            "environment": {**describe_environment(plan.device), "stack_width": width},
            "config": resolved,
            "noise_scale": None,  # (the configuration has an option of this name)
            **outcome.noise,
        }
    )


def record_failure(spec: RunSpec, reason: str, dataset: Dataset | None = None) -> None:
    """run.json of a run that an error ended; what it had evaluated is in evals.jsonl."""
    if (spec.directory / "run.json").exists():  # the process that failed has written it itself
        return
    try:
        points = read_evals(spec.directory)
    except RecordsError:
        points = []
    metric = spec.plan.metric
    values = [point.metrics.get(metric.name) for point in points]
    last = points[-1] if points else None
    outcome = Outcome(
        status="failed",
        reason=reason,
        crossing=None,
        best_value=metric.best(values),
        final_value=values[-1] if values else None,
        test_value=None,
        steps=last.step if last else 0,
        samples_seen=last.samples if last else 0,
        wall_s=(last.wall_s or 0.0) if last else 0.0,
        eval_s=0.0,
    )
    try:
        spec.directory.mkdir(parents=True, exist_ok=True)
        write_run(spec.directory, record_of(spec, outcome, dataset))
    except OSError as error:
        log.warning("run.json of the failed run could not be written: %s", error)


def first_line(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _columns(dataset: Dataset) -> tuple[Column, ...]:
    """The columns as the loader describes them; else the features, as the schema has them."""
    if dataset.columns:
        described = (vars(column) for column in dataset.columns)
        return tuple(Column(**{**facts, "note": facts["note"] or None}) for facts in described)
    schema = dataset.schema
    categorical = zip(schema.categorical, schema.cardinalities, strict=True)
    return (
        *(Column(name=name, role="categorical", cardinality=n) for name, n in categorical),
        *(Column(name=name, role="numeric") for name in schema.numeric),
    )
