"""A run with its records, checkpoints, W&B run, log and part of the progress display."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bsscale.data import Dataset
from bsscale.errors import BsscaleError, RecordsError
from bsscale.files.replace import start_file
from bsscale.records.checkpoints import (
    Checkpoint,
    newest_checkpoint,
    remove_checkpoints,
    write_checkpoint,
    write_plan,
)
from bsscale.records.directories import error_in_study, records_unwritable, refuse_occupied
from bsscale.records.evaluation import EvalPoint
from bsscale.records.run_record import RunRecord
from bsscale.records.secrets import without_secrets
from bsscale.records.writer import Records, clear_away
from bsscale.terminal.numbers import metric_number
from bsscale.terminal.progress import Display
from bsscale.terminal.words import status_words
from bsscale.tracking.derived import derived
from bsscale.tracking.tracker import NoTracker, WandbTracker, make_tracker
from bsscale.training.loop import Observer
from bsscale.training.outcome import Outcome, first_line, record_failure, record_of
from bsscale.training.result import describe_result_briefly, evaluation_warning
from bsscale.training.resume import Start, find_start
from bsscale.training.run_log import own_log
from bsscale.training.spec import RunSpec

__all__ = ["INTERRUPTED", "RecordedRun", "log_finished", "log_how_to_resume"]

INTERRUPTED = "interrupted by Ctrl-C"

log = logging.getLogger(__name__)


class RecordedRun:
    """A run with its records, its W&B run, its log and its share of the progress display."""

    def __init__(self, spec: RunSpec, dataset: Dataset, progress: Display, number: int = 0) -> None:
        self.spec, self.plan = spec, spec.plan
        self.start = Start(spec.plan)
        self.checkpoint: Checkpoint | None = None
        self.result: RunRecord | Exception | None = None
        self.width = 1
        self._dataset, self._progress, self._number = dataset, progress, number
        self._records: Records | None = None
        self._tracker: NoTracker | WandbTracker = NoTracker()
        # In a multirun, the log belongs to the sweep. A single run has its own log already.
        self._log = own_log(spec.logging if spec.group is not None else None)
        self._step = 0
        self._warned_unwritable = False

    def find_start(self) -> None:
        """Find out whether the run begins, continues, or has already ended in its directory."""
        spec = self.spec
        try:
            self.start = find_start(spec.directory, spec.plan)
        except BsscaleError as error:
            self.fail(error)
            return
        if self.start.finished is not None:
            self.result = log_finished(spec, self.start.finished)
            self._progress.ended(self._number, self.result.status)
            return
        if self.start.anew:
            self._say_anew()
        self.plan, self.checkpoint = self.start.plan, self.start.checkpoint
        self.spec = replace(spec, plan=self.plan)
        if self.checkpoint is not None:
            with self._log():
                log.info(
                    "going on after %s samples, from %s",
                    f"{self.checkpoint.step * self.plan.global_batch:,}",
                    self.start.path,
                )

    def _say_anew(self) -> None:
        with self._log():
            log.info("%s holds a run without a checkpoint: it begins anew", self.spec.directory)

    def outcome(self) -> RunRecord:
        """The record; raises what ended the run."""
        if isinstance(self.result, Exception):
            raise self.result
        assert self.result is not None
        return self.result

    def begin(self) -> Sequence[Observer]:
        spec, config = self.spec, self.plan.config
        with self._log():
            kept = self.checkpoint.evals if self.checkpoint is not None else ()
            self._records = Records(
                spec.directory, None if self.plan.config.resume == "never" else kept
            )
            self._try_write(write_plan, self.plan.training)
            self._tracker = make_tracker(
                config.tracker,
                spec.directory,
                name=f"{spec.arm} seed={config.seed}",
                group=spec.group,
                job_type=spec.arm,
                tags=[*_names(config.model, config.dataset), f"gpus={spec.plan.gpus}"],
                run_config={
                    **without_secrets(asdict(config)),
                    "plan": derived(self.plan, spec.arm, spec.study),
                },
                criterion=spec.plan.metric.criterion,
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
        self._progress.evaluated(self._number, _state(point))

    def save(self, checkpoint: Checkpoint) -> None:
        self._try_write(write_checkpoint, checkpoint)

    def _try_write(self, write: Callable[[Path, Any], object], what: Any) -> None:
        """Write what a later start needs. If this fails, log a warning and continue training."""
        try:
            write(self.spec.directory, what)
        except OSError as error:
            if not self._warned_unwritable:
                with self._log(), self._progress.printing():
                    log.warning("warning: the checkpoint could not be written: %s", error)
            self._warned_unwritable = True
        else:
            self._warned_unwritable = False

    def end(self, outcome: Outcome, model: Any) -> None:
        with self._log(), self._progress.printing():
            record = record_of(self.spec, outcome, self._dataset, self.width)
            assert self._records is not None
            try:
                if model is not None and self.plan.config.keeps_weights:  # (a script's are its own)
                    _save_weights(model, self.spec.directory / "model.safetensors")
                self._records.finish(record)
            except OSError as error:
                raise records_unwritable(self.spec.directory, error) from error
            self._records.close()
            remove_checkpoints(self.spec.directory)
            self._tracker.finish()
            self._progress.ended(self._number, record.status)
            self.result = record
            if self.spec.group is not None:
                log.info("%s", describe_result_briefly(record))
            # (the other runs of a stack wait for the same evaluations)
            if self._number == 0 and (warning := evaluation_warning(record)) is not None:
                log.warning("warning: %s", warning)

    def fail(self, error: Exception) -> None:
        if self.spec.study is not None and isinstance(error, BsscaleError):
            error = error_in_study(error)
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

    def close_for_resume(self) -> None:
        """Close the run so that a later start can continue it and its W&B run."""
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
        record_failure(self.spec, reason, self._dataset)
        self._tracker.finish()


def _names(*parts: Mapping[str, Any]) -> list[str]:
    """The names of a run's parts; a script's are not known."""
    return [str(part["name"]) for part in parts if part["name"] is not None]


def _state(point: EvalPoint) -> str:
    """An evaluation in a few words."""
    words = [f"{name} {metric_number(value)}" for name, value in point.metrics.items()]
    if point.lr is not None:
        words.append(f"lr {point.lr:.4g}")
    return "  ".join(words)


def log_finished(spec: RunSpec, record: RunRecord) -> RunRecord:
    """Say that a run has ended already, and clear away what it left; gives its record."""
    clear_away(spec.directory)
    log.info(
        "%s holds this run, and it has ended (%s): nothing is trained",
        spec.directory,
        status_words(record.status, record.target is not None),
    )
    return record


def log_how_to_resume(*specs: RunSpec) -> None:
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


def _save_weights(model: Any, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_model

    temporary = path.with_name(f".{path.name}.part")
    try:
        mode = start_file(temporary)
        save_model(model, str(temporary))
    except SafetensorError as error:  # (a full disk, among others)
        raise OSError(str(error)) from error
    temporary.chmod(mode)
    temporary.replace(path)
