"""One run over several processes: the work of each rank, and the common state at its start."""

from __future__ import annotations

import logging
import logging.config
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bsscale.data import Dataset, load_dataset
from bsscale.engines.ddp import DDPEngine
from bsscale.engines.probe import check_model
from bsscale.errors import BsscaleError
from bsscale.planning.plan import Plan
from bsscale.planning.training_step import ships
from bsscale.planning.world import World
from bsscale.records.checkpoints import Checkpoint, read_checkpoint
from bsscale.records.run_record import RunRecord
from bsscale.terminal.console import make_output_safe
from bsscale.terminal.progress import Progress
from bsscale.training.loop import Observer, train
from bsscale.training.outcome import Outcome
from bsscale.training.processes import Ranks, broadcast
from bsscale.training.recorded_run import RecordedRun
from bsscale.training.resume import continued
from bsscale.training.spec import RunSpec

__all__ = ["accepts_model", "start_rank", "train_rank"]

# Messages of rank 0 to the others before training.
_BEGIN, _STOP, _GO_ON = b"begin", b"stop", b"go on"


def start_rank(world: World, spec: RunSpec) -> None:
    """The main function of each process that bsscale starts."""
    make_output_safe()
    if world.rank == 0 and spec.logging is not None:
        logging.config.dictConfig(dict(spec.logging))
    train_rank(world, spec, load_dataset(spec.plan.config.dataset))


def accepts_model(world: World, plan: Plan, dataset: Dataset) -> bool:
    """Try a model of the user's own on every rank, because it may communicate with other ranks.

    Returns
    -------
    False on the ranks above 0 if rank 0 refuses the model; rank 0 reports the reason.

    Raises
    ------
    ConfigError
        If rank 0 or this rank refuses the model.
    """
    if ships(plan.config.model):
        return True
    refused = None
    try:
        check_model(plan, dataset)
    except BsscaleError as error:
        refused = error
    if world.rank == 0:
        broadcast(_STOP if refused else _GO_ON, world)
    elif broadcast(None, world) == _STOP:
        return False
    if refused is not None:
        raise refused
    return True


def train_rank(world: World, spec: RunSpec, dataset: Dataset) -> RunRecord | None:
    """Train a run as one of its data-parallel processes.

    Only rank 0 owns records, log and W&B.
    """
    plan = spec.plan
    job: RecordedRun | UnrecordedRun
    if world.rank > 0:
        job = UnrecordedRun(plan)
        if not _receive_start(world, job):
            return None
    else:
        job = RecordedRun(spec, dataset, Progress([(spec.arm, plan.budget_samples)]))
        _find_start(world, job)
        if job.result is not None:
            return job.outcome()
    engine = DDPEngine(plan, dataset, world.rank)
    try:
        whole = dataset.validation if dataset.evaluates_some else None
        train([[job]], engine, dataset.evaluated, dataset.test, Ranks(), whole)
    except KeyboardInterrupt:
        job.interrupt()
        raise
    except SystemExit:
        job.close_for_resume()
        raise
    finally:
        engine.close()
    return job.outcome()


def _find_start(world: World, job: RecordedRun) -> None:
    """Find out where the run begins, and send it to the other ranks.

    They may not have access to the directory.
    """
    job.find_start()
    broadcast(_STOP if job.result else _GO_ON if job.start.path else _BEGIN, world)
    if job.result is None and job.start.path is not None:
        broadcast(job.start.path.read_bytes(), world)


def _receive_start(world: World, job: UnrecordedRun) -> bool:
    """Begin where rank 0 does; False where there is nothing to train."""
    told = broadcast(None, world)
    if told == _GO_ON:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "checkpoint.safetensors")
            path.write_bytes(broadcast(None, world))
            job.checkpoint = read_checkpoint(path)
        training = job.checkpoint.training
        job.plan = continued(job.plan, training, "rank 0's is a checkpoint of another training")
    return told != _STOP


class UnrecordedRun:
    """The run as the ranks above 0 see it: without records."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.checkpoint: Checkpoint | None = None
        self._error: Exception | None = None

    def begin(self) -> Sequence[Observer]:
        return ()

    def save(self, checkpoint: Checkpoint) -> None:
        """Rank 0 does."""

    def end(self, outcome: Outcome, model: Any) -> None:
        """Nothing is written."""

    def fail(self, error: Exception) -> None:
        self._error = error

    def interrupt(self) -> None:
        """Nothing is written."""

    def close_for_resume(self) -> None:
        """Nothing is written."""

    def outcome(self) -> None:
        if self._error is not None:
            raise self._error
