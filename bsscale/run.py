"""One run from its specification to its records, in this process or over many."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bsscale.arms import arm_hash
from bsscale.config import Config
from bsscale.data import Dataset, load_dataset
from bsscale.display import Progress
from bsscale.environment import describe_environment
from bsscale.errors import RecordsError
from bsscale.metrics import roc_auc
from bsscale.plan import Plan
from bsscale.records import (
    Records,
    RunRecord,
    read_evals,
    read_run,
    refuse_occupied,
    write_run,
)
from bsscale.tracking import make_tracker
from bsscale.trainer import Outcome, train

__all__ = ["RunSpec", "run"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSpec:
    """Everything a run is made from; travels to other processes.

    Attributes
    ----------
    config
        The run as the user wrote it.
    plan
        Its numbers.
    directory
        Where its records go.
    arm
        The arm's label.
    group
        What groups it with other runs in W&B: a multirun's directory; None for a single run.
    logging
        A logging configuration for a process that this one starts; None leaves logging alone.
    """

    config: Config
    plan: Plan
    directory: Path
    arm: str
    group: str | None = None
    logging: Mapping[str, Any] | None = None

    def resolved_config(self) -> dict[str, Any]:
        """The configuration with what the plan settled filled in, as plain containers."""
        plan = self.plan
        return asdict(
            replace(self.config, gpus=plan.gpus, base_lr=plan.base_lr, target=plan.target)
        )


def run(spec: RunSpec, dataset: Dataset) -> RunRecord:
    """Train one run and write its records.

    Parameters
    ----------
    spec
        What to run.
    dataset
        Its data, which `spec.plan` was made for.

    Raises
    ------
    BsscaleError
        For a run that cannot be started, or whose process died.

    Notes
    -----
    Whatever ends the run is written to run.json before it is raised.
    """
    refuse_occupied(spec.directory)
    try:
        if spec.plan.executor == "virtual":
            _train_and_record(spec, dataset, rank=0)
        else:
            from bsscale.engines import launch

            launch(_train_rank, spec, spec.plan)
    except KeyboardInterrupt:
        _record_failure(spec, "interrupted by Ctrl-C")
        raise
    except Exception as error:
        _record_failure(spec, f"{type(error).__name__}: {str(error).splitlines()[0]}")
        raise
    return read_run(spec.directory)


def _train_rank(rank: int, spec: RunSpec) -> None:
    """What each data-parallel process runs. Only rank 0 owns records, log and W&B."""
    if rank == 0 and spec.logging is not None:
        logging.config.dictConfig(dict(spec.logging))
    _train_and_record(spec, load_dataset(spec.config.dataset), rank)


def _train_and_record(spec: RunSpec, dataset: Dataset, rank: int) -> None:
    from bsscale.engines import DDPEngine, VirtualEngine

    config, plan = spec.config, spec.plan
    engine_type = VirtualEngine if plan.executor == "virtual" else DDPEngine
    engine = engine_type(config, plan, dataset, rank)
    if rank > 0:
        train(plan, engine, dataset.validation)
        engine.score(dataset.test)
        engine.close()
        return

    with Records(spec.directory) as records:
        tracker = make_tracker(
            config.tracker,
            spec.directory,
            name=f"{spec.arm} seed={plan.seed}",
            group=spec.group,
            job_type=spec.arm[:64],
            tags=[str(config.model["name"]), str(config.dataset["name"]), f"gpus={plan.gpus}"],
            run_config=spec.resolved_config(),
        )
        progress = Progress(plan)
        try:
            outcome = train(plan, engine, dataset.validation, (records, tracker, progress))
        finally:
            progress.close()
        test_logits = engine.score(dataset.test)
        record = _record(spec, dataset, outcome)
        if outcome.status != "diverged":
            record = replace(record, test_auc=roc_auc(dataset.test.label, test_logits))
        _save_weights(engine.model, spec.directory / "model.safetensors")
        records.finish(record)
        tracker.finish(record)
    engine.close()


def _record(spec: RunSpec, dataset: Dataset | None, outcome: Outcome) -> RunRecord:
    config, plan = spec.config, spec.plan
    resolved = spec.resolved_config()
    crossing = outcome.crossing
    training_s = outcome.wall_s - outcome.eval_s
    return RunRecord(
        status=outcome.status,
        reason=outcome.reason,
        arm=spec.arm,
        arm_hash=arm_hash(resolved),
        study=None,
        target=plan.target,
        samples_to_target_interval=None if crossing is None else crossing.interval,
        samples_to_target=None if crossing is None else crossing.samples,
        best_auc=outcome.best_auc,
        final_auc=outcome.final_auc,
        test_auc=None,
        best_possible_auc=None if dataset is None else dataset.best_possible_auc,
        samples_seen=outcome.samples_seen,
        budget_samples=plan.budget_samples,
        eval_interval_samples=plan.eval_interval_samples,
        steps=outcome.steps,
        gpus=plan.gpus,
        micro_batch=plan.micro_batch,
        grad_accum=plan.grad_accum,
        global_batch=plan.global_batch,
        schedule=config.schedule.name,
        optimizer=config.optimizer.name,
        model=str(config.model["name"]),
        dataset=str(config.dataset["name"]),
        executor=plan.executor,
        seed=plan.seed,
        base_lr=plan.base_lr,
        samples_per_s=outcome.samples_seen / training_s if training_s > 0 else None,
        eval_share=outcome.eval_s / outcome.wall_s if outcome.wall_s > 0 else None,
        wall_s=outcome.wall_s,
        environment=describe_environment(plan.device),
        config=resolved,
    )


def _record_failure(spec: RunSpec, reason: str) -> None:
    """run.json of a run that an error ended; what it had evaluated is in evals.jsonl."""
    try:
        points = read_evals(spec.directory)
    except RecordsError:
        points = []
    aucs = [point.auc for point in points if point.auc is not None]
    last = points[-1] if points else None
    outcome = Outcome(
        status="failed",
        reason=reason,
        crossing=None,
        best_auc=max(aucs, default=None),
        final_auc=last.auc if last else None,
        steps=last.step if last else 0,
        samples_seen=last.samples if last else 0,
        wall_s=last.wall_s if last else 0.0,
        eval_s=0.0,
    )
    record = replace(_record(spec, None, outcome), samples_per_s=None, eval_share=None)
    try:
        spec.directory.mkdir(parents=True, exist_ok=True)
        write_run(spec.directory, record)
    except OSError as error:
        log.warning("run.json of the failed run could not be written: %s", error)


def _save_weights(model: Any, path: Path) -> None:
    from safetensors.torch import save_model

    temporary = path.with_name(f".{path.name}.part")
    save_model(model, str(temporary))
    temporary.chmod(0o644)
    temporary.replace(path)
