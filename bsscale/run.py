"""One run from its specification to its records, in this process or over many."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bsscale.arms import arm_hash
from bsscale.config import Config
from bsscale.data import Dataset, load_dataset
from bsscale.display import describe_result_briefly
from bsscale.environment import describe_environment
from bsscale.errors import BsscaleError, ConfigError, NotStackableError, RecordsError
from bsscale.plan import Plan
from bsscale.progress import Progress
from bsscale.records import (
    EvalPoint,
    Records,
    RunRecord,
    read_evals,
    read_run,
    refuse_occupied,
    write_run,
)
from bsscale.stacking import Stack, make_stacks, split
from bsscale.tracking import NoTracker, WandbTracker, make_tracker
from bsscale.trainer import Engine, Observer, Outcome, train

__all__ = ["RunSpec", "make_engine", "run", "run_together"]

INTERRUPTED = "interrupted by Ctrl-C"

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
    study
        Hash of the study that the run belongs to.
    """

    config: Config
    plan: Plan
    directory: Path
    arm: str
    group: str | None = None
    logging: Mapping[str, Any] | None = None
    study: str | None = None

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
    if spec.plan.executor == "virtual":
        [result] = run_together([spec], dataset)
        if isinstance(result, Exception):
            raise result
        return result
    from bsscale.engines.ddp import launch

    try:
        launch(_train_rank, spec, spec.plan)
    except KeyboardInterrupt:
        _record_failure(spec, INTERRUPTED)
        raise
    except Exception as error:
        _record_failure(spec, _reason(error))
        raise
    return read_run(spec.directory)


def run_together(
    specs: Sequence[RunSpec],
    dataset: Dataset,
    stack: Stack | None = None,
    finished: Collection[int] = (),
) -> list[RunRecord | Exception]:
    """Train the runs of a stack, several at a time, and write the records of each.

    Parameters
    ----------
    specs
        The runs; one process each.
    dataset
        Their data.
    stack
        How they are trained together; None follows from the plans.
    finished
        Numbers of runs that an earlier start has trained: they keep their place in the stack.

    Returns
    -------
    For each other run its record, or the error that ended it and it alone.
    """
    if stack is None:
        [stack] = make_stacks([(spec.config, spec.plan) for spec in specs])
    progress = Progress(
        [
            (s.arm, 0 if number in finished else s.plan.steps * s.plan.global_batch)
            for number, s in enumerate(specs)
        ]
    )
    all_runs = [_Recorded(spec, dataset, progress, number) for number, spec in enumerate(specs)]
    runs = [run_ for number, run_ in enumerate(all_runs) if number not in finished]
    try:
        engine = make_engine(specs[0].config, specs[0].plan, dataset, stack)
        for run_ in runs:
            run_.width = engine.width
        slots = [[run_ for run_ in slot if run_ in runs] for slot in split(all_runs, engine.width)]
        train(slots, engine, dataset.validation, dataset.test)
    except KeyboardInterrupt:
        for run_ in runs:
            run_.interrupt()
        raise
    except Exception as error:
        for run_ in runs:
            if run_.result is None:
                run_.fail(error)
    finally:
        progress.close()
    return [run_.result for run_ in runs if run_.result is not None]


def make_engine(config: Config, plan: Plan, dataset: Dataset, stack: Stack) -> Engine:
    """The engine of a stack: as wide as planned, or as the device's memory allows.

    Parameters
    ----------
    config, plan
        Of any of its runs.
    dataset
        Their data.
    stack
        What was planned.
    """
    plan = replace(
        plan,
        training_step=stack.training_step,
        training_step_reason=stack.training_step_reason,
    )
    if plan.training_step != "eager":
        from torch import OutOfMemoryError

        from bsscale.engines.stacked import StackedEngine

        width = stack.width
        while True:
            try:
                return StackedEngine(config, plan, dataset, width)
            except NotStackableError as error:
                log.info("model=%s is trained run by run: %s", config.model.get("name"), error)
                break
            except OutOfMemoryError:
                if width == 1:
                    raise ConfigError(
                        f"a run with a global batch of {plan.global_batch:,} samples does not fit "
                        "into the device's memory",
                        "give a smaller micro_batch, or more devices (executor=ddp)",
                    ) from None
                log.info("%d runs at a time do not fit into the device's memory", width)
                width = -(-width // 2)
    from bsscale.engines.eager import EagerEngine

    return EagerEngine(plan, dataset)


def _train_rank(rank: int, spec: RunSpec) -> None:
    """What each data-parallel process runs. Only rank 0 owns records, log and W&B."""
    from bsscale.engines.ddp import DDPEngine

    dataset = load_dataset(spec.config.dataset)
    engine = DDPEngine(spec.plan, dataset, rank)
    if rank > 0:
        job: _Recorded | _Unrecorded = _Unrecorded(spec.config, spec.plan)
    else:
        if spec.logging is not None:
            logging.config.dictConfig(dict(spec.logging))
        job = _Recorded(spec, dataset, Progress([(spec.arm, spec.plan.budget_samples)]))
    train([[job]], engine, dataset.validation, dataset.test)
    engine.close()
    if isinstance(job.result, Exception):
        raise job.result


class _Unrecorded:
    """The run as the ranks above 0 take part in it."""

    def __init__(self, config: Config, plan: Plan) -> None:
        self.config, self.plan = config, plan
        self.result: Exception | None = None

    def begin(self) -> Sequence[Observer]:
        return ()

    def end(self, outcome: Outcome, model: Any) -> None:
        """Nothing is written."""

    def fail(self, error: Exception) -> None:
        self.result = error


class _Recorded:
    """A run with its records, its W&B run, its log and its share of the progress display."""

    def __init__(
        self, spec: RunSpec, dataset: Dataset, progress: Progress, number: int = 0
    ) -> None:
        self.spec, self.config, self.plan = spec, spec.config, spec.plan
        self.result: RunRecord | Exception | None = None
        self.width = 1
        self._dataset, self._progress, self._number = dataset, progress, number
        self._records: Records | None = None
        self._tracker: NoTracker | WandbTracker = NoTracker()
        # In a multirun the log is the sweep's; alone it is the run's own already.
        self._log = own_log(spec.logging if spec.group is not None else None)
        self._step = 0

    def begin(self) -> Sequence[Observer]:
        spec = self.spec
        with self._log():
            self._records = Records(spec.directory)
            self._tracker = make_tracker(
                spec.config.tracker,
                spec.directory,
                name=f"{spec.arm} seed={spec.plan.seed}",
                group=spec.group,
                job_type=spec.arm,
                tags=[
                    str(spec.config.model["name"]),
                    str(spec.config.dataset["name"]),
                    f"gpus={spec.plan.gpus}",
                ],
                run_config=spec.resolved_config(),
            )
        return [self]

    def on_step(self, step: int) -> None:
        self._progress.advance(self._number, (step - self._step) * self.plan.global_batch)
        self._step = step

    def on_eval(self, point: EvalPoint) -> None:
        with self._log():
            assert self._records is not None
            self._records.on_eval(point)
            self._tracker.on_eval(point)
        self._progress.evaluated(self._number, point)

    def end(self, outcome: Outcome, model: Any) -> None:
        with self._log(), self._progress.printing():
            record = _record(self.spec, self._dataset, outcome, self.width)
            _save_weights(model, self.spec.directory / "model.safetensors")
            assert self._records is not None
            self._records.finish(record)
            self._records.close()
            self._tracker.finish()
            self._progress.ended(self._number, record.status)
            self.result = record
            if self.spec.group is not None:
                log.info("%s", describe_result_briefly(record))

    def fail(self, error: Exception) -> None:
        self.result = error
        self._progress.ended(self._number, "failed")
        with self._log(), self._progress.printing():
            self._give_up(_reason(error))
            if self.spec.group is not None:
                log.error("error: %s", error, exc_info=not isinstance(error, BsscaleError))

    def interrupt(self) -> None:
        """Record that the user ended the run, if it had begun and not ended."""
        if self.result is None and self._records is not None:
            self._give_up(INTERRUPTED)

    def _give_up(self, reason: str) -> None:
        if self._records is not None:
            self._records.close()
        else:
            try:
                refuse_occupied(self.spec.directory)
            except RecordsError:  # another run's directory: its records are not touched
                return
        _record_failure(self.spec, reason)
        self._tracker.finish()


class _RunLog(logging.FileHandler):
    """A log file that may be unwritable: the console has what is said, and the run its error."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)


def own_log(
    settings: Mapping[str, Any] | None,
) -> Callable[[], AbstractContextManager[None]]:
    """What sends messages to a run's own log file as well, where one process trains many runs.

    Parameters
    ----------
    settings
        The run's logging configuration, whose handler ``file`` is used; None: no such file.
    """
    file = (settings or {}).get("handlers", {}).get("file")
    if settings is None or file is None:
        return nullcontext
    handler = _RunLog(file["filename"], delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter(settings["formatters"][file["formatter"]]["format"]))

    @contextmanager
    def attached() -> Iterator[None]:
        root = logging.getLogger()
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
            handler.close()  # (opens again when it is written to)

    return attached


def _record(spec: RunSpec, dataset: Dataset | None, outcome: Outcome, width: int = 1) -> RunRecord:
    config, plan = spec.config, spec.plan
    resolved = spec.resolved_config()
    crossing = outcome.crossing
    training_s = outcome.wall_s - outcome.eval_s
    return RunRecord(
        status=outcome.status,
        reason=outcome.reason,
        arm=spec.arm,
        arm_hash=arm_hash(resolved),
        study=spec.study,
        target=plan.target,
        samples_to_target_interval=None if crossing is None else crossing.interval,
        samples_to_target=None if crossing is None else crossing.samples,
        best_auc=outcome.best_auc,
        final_auc=outcome.final_auc,
        test_auc=outcome.test_auc,
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
        environment={**describe_environment(plan.device), "stack_width": width},
        config=resolved,
    )


def _record_failure(spec: RunSpec, reason: str) -> None:
    """run.json of a run that an error ended; what it had evaluated is in evals.jsonl."""
    if (spec.directory / "run.json").exists():  # the process that failed has written it itself
        return
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
        test_auc=None,
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


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _save_weights(model: Any, path: Path) -> None:
    from safetensors.torch import save_model

    temporary = path.with_name(f".{path.name}.part")
    save_model(model, str(temporary))
    temporary.chmod(0o644)
    temporary.replace(path)
