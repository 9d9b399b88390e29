"""Writes the runs that a study adopts into its directory, judged by its target."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from bsscale.records.evaluation import EvalPoint
from bsscale.records.registered_runs import RUNS
from bsscale.records.run_record import RunRecord, read_run
from bsscale.records.writer import Records
from bsscale.study.adopted import Adopted, within
from bsscale.study.configure import Settled
from bsscale.study.session import Session
from bsscale.training.outcome import Outcome, record_of

__all__ = ["adopt"]

log = logging.getLogger(__name__)


def adopt(study: Session, settled: Settled) -> list[RunRecord]:
    """The records of the adopted runs, written unless they are there; none where none is adopted.

    What the source does not say of a run, such as its model and its options, is taken to be the
    study's: `adopted` in the record says where it comes from.
    """
    adopted = study.plan.adopted
    if adopted is None:
        return []
    records = []
    for seed in study.file.seeds:
        where = Path(RUNS) / adopted.arm.name / f"seed-{seed}"
        if not (study.directory / where / "run.json").exists():
            _write(study, adopted, settled, seed, where)
        records.append(read_run(study.directory / where))
    study.seal.trained(
        study.directory / RUNS / adopted.arm.name / f"seed-{seed}" for seed in study.file.seeds
    )
    log.warning(
        "warning: the arm %s is adopted, and unregistered: its runs, and with them the target, "
        "existed before the study",
        adopted.arm.name,
    )
    return records


def _write(study: Session, adopted: Adopted, settled: Settled, seed: int, where: Path) -> None:
    arm, source = adopted.arm, adopted.runs[seed].record
    spec = study.specs.run(
        where,
        arm.name,
        arm.schedule,
        gpus=arm.gpus,
        rate=settled.base_lr,
        seed=seed,
        target=settled.target,
        budget=settled.budget_samples,
        scaling=arm.scaling,
    )
    points = within(adopted.runs[seed].evals, settled.budget_samples)
    record = record_of(spec, _outcome(adopted, settled, seed, points), study.dataset)
    record = msgspec.structs.replace(
        record,
        adopted=adopted.entry(seed),
        began=source.began,
        trainer=source.trainer,
        eval_interval_samples=source.eval_interval_samples,
        samples_per_s=source.samples_per_s,
        eval_share=None,
        environment=source.environment,
    )
    with Records(spec.directory, points) as records:
        records.finish(record)


def _outcome(adopted: Adopted, settled: Settled, seed: int, points: list[EvalPoint]) -> Outcome:
    name, source = adopted.criterion.name, adopted.runs[seed].record
    values = [point.metrics.get(name) for point in points]
    hit = adopted.hit(seed, settled.target, settled.budget_samples)
    samples = points[-1].samples if points else 0
    status = "reached" if hit is not None else "exhausted"
    if hit is None and source.status == "diverged":
        status = "diverged"
    ends = "reached the target" if hit is not None else f"{status}, without reaching the target"
    return Outcome(
        status=status,
        reason=f"adopted: {ends}; its evaluations end after {samples:,} samples",
        crossing=hit,
        best_value=adopted.criterion.best(values),
        final_value=values[-1] if values else None,
        test_value=None,
        steps=points[-1].step if points else 0,
        samples_seen=samples,
        wall_s=max((point.wall_s or 0.0 for point in points), default=0.0),
        eval_s=0.0,
    )
