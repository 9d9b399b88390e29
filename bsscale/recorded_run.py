"""A run and what becomes of it: records, checkpoints, W&B, log and its share of the display."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bsscale.arms import arm_hash
from bsscale.checkpoints import (
    Checkpoint,
    newest_checkpoint,
    remove_checkpoints,
    write_checkpoint,
)
from bsscale.config import Config
from bsscale.data import Dataset
from bsscale.display import describe_result_briefly
from bsscale.environment import describe_environment
from bsscale.errors import BsscaleError, RecordsError
from bsscale.plan import Plan
from bsscale.progress import Progress
from bsscale.records import (
    EvalPoint,
    Records,
    RunRecord,
    cannot_go_on,
    read_evals,
    refuse_occupied,
    write_run,
)
from bsscale.resume import Start, find_start
from bsscale.tracking import NoTracker, WandbTracker, make_tracker
from bsscale.trainer import Observer, Outcome

__all__ = [
    "INTERRUPTED",
    "RecordedRun",
    "RunSpec",
    "first_line",
    "leave_alone",
    "own_log",
    "record_failure",
    "say_how_to_go_on",
]

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


class RecordedRun:
    """A run with its records, its W&B run, its log and its share of the progress display."""

    def __init__(
        self, spec: RunSpec, dataset: Dataset, progress: Progress, number: int = 0
    ) -> None:
        self.spec, self.config, self.plan = spec, spec.config, spec.plan
        self.start = Start(spec.plan)
        self.checkpoint: Checkpoint | None = None
        self.result: RunRecord | Exception | None = None
        self.width = 1
        self._dataset, self._progress, self._number = dataset, progress, number
        self._records: Records | None = None
        self._tracker: NoTracker | WandbTracker = NoTracker()
        # In a multirun the log is the sweep's; alone it is the run's own already.
        self._log = own_log(spec.logging if spec.group is not None else None)
        self._step = 0
        self._said_unwritable = False

    def find_start(self) -> None:
        """Begin, go on or leave alone what the directory holds."""
        spec = self.spec
        try:
            self.start = find_start(spec.directory, spec.config, spec.plan, spec.resolved_config())
        except BsscaleError as error:
            self.fail(error)
            return
        if self.start.finished is not None:
            self.result = leave_alone(spec, self.start.finished)
            self._progress.ended(self._number, self.result.status)
            return
        self.plan, self.checkpoint = self.start.plan, self.start.checkpoint
        self.spec = replace(spec, plan=self.plan)
        if self.checkpoint is not None:
            with self._log():
                log.info(
                    "going on after %s samples, from %s",
                    f"{self.checkpoint.step * self.plan.global_batch:,}",
                    self.start.path,
                )

    def outcome(self) -> RunRecord:
        """The record; raises what ended the run."""
        if isinstance(self.result, Exception):
            raise self.result
        assert self.result is not None
        return self.result

    def begin(self) -> Sequence[Observer]:
        spec = self.spec
        with self._log():
            kept = self.checkpoint.evals if self.checkpoint is not None else ()
            self._records = Records(spec.directory, None if self.config.resume == "never" else kept)
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

    def save(self, checkpoint: Checkpoint) -> None:
        try:
            write_checkpoint(self.spec.directory, checkpoint)
        except OSError as error:  # the run itself may well go on
            if not self._said_unwritable:
                with self._log(), self._progress.printing():
                    log.warning("warning: the checkpoint could not be written: %s", error)
            self._said_unwritable = True
        else:
            self._said_unwritable = False

    def end(self, outcome: Outcome, model: Any) -> None:
        with self._log(), self._progress.printing():
            record = _record(self.spec, self._dataset, outcome, self.width)
            assert self._records is not None
            try:
                _save_weights(model, self.spec.directory / "model.safetensors")
                self._records.finish(record)
            except OSError as error:
                raise cannot_go_on(self.spec.directory, error) from error
            self._records.close()
            remove_checkpoints(self.spec.directory)
            self._tracker.finish()
            self._progress.ended(self._number, record.status)
            self.result = record
            if self.spec.group is not None:
                log.info("%s", describe_result_briefly(record))

    def fail(self, error: Exception) -> None:
        self.result = error
        self._progress.ended(self._number, "failed")
        with self._log(), self._progress.printing():
            self._give_up(first_line(error))
            if self.spec.group is not None:
                log.error("error: %s", error, exc_info=not isinstance(error, BsscaleError))

    def interrupt(self) -> None:
        """Record that the user ended the run, if it had begun and not ended."""
        if self.result is None and self._records is not None:
            self._give_up(INTERRUPTED)

    def pause(self) -> None:
        """Let go of the run, which a later start goes on with; so does its W&B run."""
        if self.result is None and self._records is not None:
            self._records.close()

    def _give_up(self, reason: str) -> None:
        if self._records is not None:
            self._records.close()
        else:
            try:
                refuse_occupied(self.spec.directory)
            except RecordsError:  # another run's directory: its records are not touched
                return
        record_failure(self.spec, reason)
        self._tracker.finish()


def leave_alone(spec: RunSpec, record: RunRecord) -> RunRecord:
    """Say that a run has ended already; gives its record."""
    log.info(
        "%s holds this run, and it has ended (%s): nothing is trained",
        spec.directory,
        record.status,
    )
    return record


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
    handler = _RunLog(file["filename"], delay=True, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter(settings["formatters"][file["formatter"]]["format"]))

    @contextmanager
    def attached() -> Iterator[None]:
        root = logging.getLogger()
        # A job with a process of its own logs to this file already.
        if any(getattr(h, "baseFilename", None) == handler.baseFilename for h in root.handlers):
            yield
            return
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


def record_failure(spec: RunSpec, reason: str) -> None:
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


def say_how_to_go_on(*specs: RunSpec) -> None:
    """After Ctrl-C or a signal."""
    spec = specs[0]
    if spec.study is not None:
        log.info("stopped; the same command goes on from here")
    elif spec.group is not None:
        log.info("stopped; the same command with hydra.sweep.dir=%s goes on from here", spec.group)
    elif newest_checkpoint(spec.directory) is not None:
        log.info(
            "stopped; the same command with hydra.run.dir=%s goes on from here", spec.directory
        )


def first_line(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _save_weights(model: Any, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_model

    temporary = path.with_name(f".{path.name}.part")
    try:
        save_model(model, str(temporary))
    except SafetensorError as error:  # (a full disk, among others)
        raise OSError(str(error)) from error
    temporary.chmod(0o644)
    temporary.replace(path)
