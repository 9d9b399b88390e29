"""Runs of a sweep or a study, trained by this process or by several."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bsscale.data import Dataset
from bsscale.errors import BsscaleError, RecordsError, WorkerError
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.planning.stacks import Piece, cut, make_stacks
from bsscale.planning.workers import WorkerCount, choose_workers
from bsscale.records.run_record import RunRecord, read_run
from bsscale.training.outcome import record_failure
from bsscale.training.recorded_run import log_how_to_resume
from bsscale.training.resume import find_start
from bsscale.training.run import progress_of, run, run_together
from bsscale.training.spec import RunSpec

if TYPE_CHECKING:
    from bsscale.workers.pool import Pool

__all__ = ["Workers", "describe_workers"]

log = logging.getLogger(__name__)

Result = RunRecord | Exception


class Workers:
    """What trains the runs of a sweep or a study.

    Parameters
    ----------
    wanted
        The option `workers`: a number of processes, or auto.
    devices
        Of this machine.

    Attributes
    ----------
    devices
        As given.
    step
        What the display of the runs begins with, such as "study 4/6"; whoever trains sets it.

    Notes
    -----
    Use it in a ``with`` statement: processes that it has started stay until its end.
    """

    def __init__(self, wanted: int | str, devices: Devices) -> None:
        self._wanted, self.devices = wanted, devices
        self._pool: Pool | None = None
        self._count = 1
        self.step = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.close()

    def train(
        self,
        specs: Sequence[RunSpec],
        datasets: Sequence[Dataset],
        finished: Collection[int] = (),
    ) -> dict[int, Result]:
        """Train runs, or what is left of them, to an end or a checkpoint; see `RunTrainer`."""
        plans = [spec.plan for spec in specs]
        workers, virtual, others = _planned(self._wanted, plans, self.devices, finished)
        results: dict[int, Result] = {}
        several = min(workers.count, len(virtual)) > 1
        if several or workers.count > 1 or (others and virtual):
            log.info("workers  %s", _described(workers, virtual, others))
        if several:
            results |= self._train_in_pool(specs, datasets, virtual, workers, finished)
        else:
            for piece in virtual:
                members = [specs[number] for number in piece.stack.members]
                trained = run_together(
                    members,
                    datasets[piece.runs[0]],
                    piece.stack,
                    piece.left_out,
                    step=self.step,
                )
                results |= dict(zip(piece.runs, trained, strict=True))
        if others and self._pool is not None:  # (idle workers keep memory of their devices)
            self._pool.close()
            self._pool = None
        for piece in others:  # they have processes of their own
            [number] = piece.runs
            results[number] = _run_alone(specs[number], datasets[number])
        return results

    def _train_in_pool(
        self,
        specs: Sequence[RunSpec],
        datasets: Sequence[Dataset],
        pieces: Sequence[Piece],
        workers: WorkerCount,
        finished: Collection[int],
    ) -> dict[int, Result]:
        from bsscale.workers.messages import Work
        from bsscale.workers.pool import Assignment, Pool

        if self._pool is None or self._count < workers.count:
            if self._pool is not None:
                self._pool.close()
            self._pool, self._count = Pool(workers.devices), workers.count
        assignments = [
            Assignment(
                Work(
                    0,
                    piece.stack,
                    [specs[number] for number in piece.stack.members],
                    piece.stack.members,
                    piece.left_out,
                ),
                datasets[piece.runs[0]],
            )
            for piece in pieces
        ]
        elsewhere = set(range(len(specs))) - {n for piece in pieces for n in piece.runs}
        progress = progress_of(specs, {*finished, *elsewhere}, self.step)
        try:
            self._pool.train(assignments, progress)
        except (KeyboardInterrupt, SystemExit):
            progress.close()
            log_how_to_resume(*(specs[number] for piece in pieces for number in piece.runs))
            raise
        finally:
            progress.close()
        results: dict[int, Result] = {}
        for piece, done in zip(pieces, assignments, strict=True):
            if done.results is not None:
                results |= dict(zip(piece.runs, done.results, strict=True))
            else:
                assert done.died is not None
                results |= _lost(specs, datasets, piece, done.died)
        return results


def describe_workers(wanted: int | str, plans: Sequence[Plan], devices: Devices) -> str:
    """How many workers would train some runs, and in which pieces, for a person."""
    return _described(*_planned(wanted, plans, devices))


def _planned(
    wanted: int | str, plans: Sequence[Plan], devices: Devices, finished: Collection[int] = ()
) -> tuple[WorkerCount, list[Piece], list[Piece]]:
    """How many workers, the pieces that they train, and those that have processes of their own."""
    left = [plan for number, plan in enumerate(plans) if number not in finished]
    workers = choose_workers(wanted, left, devices)
    virtual: list[Piece] = []
    others: list[Piece] = []
    for piece in cut(make_stacks(plans), plans, workers.count, finished):
        alone = plans[piece.runs[0]].executor != "virtual"
        (others if alone else virtual).append(piece)
    return workers, virtual, others


def _lost(
    specs: Sequence[RunSpec], datasets: Sequence[Dataset], piece: Piece, reason: str
) -> Mapping[int, Result]:
    """The runs of a piece whose workers died: those that have not ended are recorded as failed."""
    results: dict[int, Result] = {}
    for number in piece.runs:
        spec = specs[number]
        try:
            if (ended := _ended(spec)) is not None:
                results[number] = ended
                continue
        except BsscaleError as error:  # its directory holds another run
            results[number] = error
            continue
        record_failure(spec, reason, datasets[number])
        log.error("error: %s seed=%d: %s", spec.arm, spec.plan.config.seed, reason)
        results[number] = WorkerError(reason, "the same command trains the run again")
    return results


def _ended(spec: RunSpec) -> RunRecord | None:
    """The record of a run that has ended; raises BsscaleError if it is another run's."""
    if spec.plan.config.resume == "never":  # (what is there has just been written)
        try:
            record = read_run(spec.directory)
        except RecordsError:
            return None
        return None if record.status == "failed" else record
    return find_start(spec.directory, spec.plan).finished


def _described(workers: WorkerCount, pieces: Sequence[Piece], others: Sequence[Piece]) -> str:
    """Workers and their pieces, and the pieces that have processes of their own."""
    count = min(workers.count, len(pieces))
    runs = sum(len(piece.runs) for piece in pieces)
    alone = f"{len(others)} runs over several processes, one after the other"
    if others and not pieces:
        return alone
    if count > 1:
        text = f"{count} ({workers.reason}): {runs} runs in {len(pieces)} stacks"
        text += f"; warning: {workers.warning}" if workers.warning else ""
    else:
        reason = workers.reason if workers.count == 1 else "there are not several stacks to train"
        text = f"1: this process ({reason})"
    return f"{text}; then {alone}" if others else text


def _run_alone(spec: RunSpec, dataset: Dataset) -> Result:
    try:
        record = run(spec, dataset)
    except Exception as error:
        log.error("error: %s", error, exc_info=not isinstance(error, BsscaleError))
        return error
    assert record is not None  # (nothing else has started ranks here)
    return record
