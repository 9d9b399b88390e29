"""Runs from their specification to their records: together in this process, or one over many."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from bsscale.data import Dataset
from bsscale.engines.engine import Engine
from bsscale.errors import BsscaleError, ConfigError, NotStackableError, RankError
from bsscale.planning.plan import Plan
from bsscale.planning.stacks import Stack, make_stacks, split
from bsscale.planning.world import World
from bsscale.records.run_record import RunRecord, read_run
from bsscale.terminal.progress import Display, Progress
from bsscale.training.loop import train
from bsscale.training.outcome import first_line, record_failure
from bsscale.training.recorded_run import (
    INTERRUPTED,
    RecordedRun,
    log_finished,
    log_how_to_resume,
)
from bsscale.training.resume import find_start
from bsscale.training.spec import RunSpec

__all__ = ["make_engine", "progress_of", "run", "run_together"]

log = logging.getLogger(__name__)


def run(spec: RunSpec, dataset: Dataset) -> RunRecord | None:
    """Train one run, or what is left of it, and write its records.

    Parameters
    ----------
    spec
        What to run.
    dataset
        Its data, which `spec.plan` was made for.

    Returns
    -------
    Its record; None on the ranks above 0 of processes that something else has started.

    Raises
    ------
    BsscaleError
        For a run that cannot be started, or whose process died.

    Notes
    -----
    An error that ends the run is written to run.json before it is raised.
    """
    if spec.plan.executor == "virtual":
        [result] = run_together([spec], dataset)
        if isinstance(result, Exception):
            raise result
        return result
    from bsscale.training.processes import is_lost_peer, join, launch
    from bsscale.training.ranks import accepts_model, start_rank, train_rank

    if (world := World.here()) is not None:
        try:
            with join(world, spec.plan):
                if not accepts_model(world, spec.plan, dataset):
                    return None
                return train_rank(world, spec, dataset)
        except (KeyboardInterrupt, SystemExit):
            if world.rank == 0:
                log_how_to_resume(spec)
            raise
        except Exception as error:
            # (an error that refused or ended the run is already logged and recorded)
            if world.rank == 0 and not isinstance(error, BsscaleError):
                record_failure(spec, first_line(error), dataset)
            if is_lost_peer(error):
                raise RankError(
                    f"rank {world.rank} of {world.size} lost its connection to another rank: "
                    f"{first_line(error)}",
                    "see the error of the other rank; start the run again to continue from its "
                    "last checkpoint",
                ) from error
            raise
    start = find_start(spec.directory, spec.plan)
    if start.finished is not None:
        return log_finished(spec, start.finished)
    try:
        launch(start_rank, spec, spec.plan)
    except KeyboardInterrupt:
        record_failure(spec, INTERRUPTED, dataset)
        log_how_to_resume(spec)
        raise
    except SystemExit:
        log_how_to_resume(spec)
        raise
    except Exception as error:
        record_failure(spec, first_line(error), dataset)
        raise
    return read_run(spec.directory)


def run_together(
    specs: Sequence[RunSpec],
    dataset: Dataset,
    stack: Stack | None = None,
    finished: Collection[int] = (),
    progress: Display | None = None,
    step: str = "",
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
        Numbers of runs that an earlier start has trained, or another process trains: they keep
        their place in the stack.
    progress
        What shows how far they are, and says how to go on after a signal; None: this function.
    step
        What the display of this function begins with.

    Returns
    -------
    For each other run, its record, or the error that ended this run.
    """
    if stack is None:
        [stack] = make_stacks([spec.plan for spec in specs])
    alone = progress is None
    if progress is None:
        progress = progress_of(specs, finished, step)
    all_runs = [RecordedRun(spec, dataset, progress, number) for number, spec in enumerate(specs)]
    runs = [run_ for number, run_ in enumerate(all_runs) if number not in finished]
    for run_ in runs:
        run_.find_start()
    waiting = [run_ for run_ in runs if run_.result is None]
    try:
        if waiting:
            engine = make_engine(specs[0].plan, dataset, stack)
            for run_ in runs:
                run_.width = engine.width
            # Finished runs are split too, so that each run keeps the slot of the first start.
            slots = split(all_runs, engine.width)
            slots = [[run_ for run_ in slot if run_ in waiting] for slot in slots]
            whole = dataset.validation if dataset.evaluates_some else None
            try:
                train(slots, engine, dataset.evaluated, dataset.test, whole=whole)
            finally:
                engine.close()
    except KeyboardInterrupt:
        for run_ in waiting:
            run_.interrupt()
        if alone:
            log_how_to_resume(*specs)
        raise
    except SystemExit:
        for run_ in waiting:
            run_.close_for_resume()
        if alone:
            log_how_to_resume(*specs)
        raise
    except Exception as error:
        for run_ in waiting:
            if run_.result is None:
                run_.fail(error)
    finally:
        progress.close()
    return [run_.result for run_ in runs if run_.result is not None]


def progress_of(
    specs: Sequence[RunSpec], finished: Collection[int] = (), step: str = ""
) -> Progress:
    """A display of runs; those that are finished have nothing left to do."""
    return Progress(
        [
            (s.arm, 0 if number in finished else s.plan.steps * s.plan.global_batch)
            for number, s in enumerate(specs)
        ],
        step,
    )


def make_engine(plan: Plan, dataset: Dataset, stack: Stack) -> Engine:
    """The engine of a stack: as wide as planned, or as the device's memory allows.

    Parameters
    ----------
    plan
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
        from bsscale.engines.memory import free_memory, is_out_of_memory
        from bsscale.engines.stacked import StackedEngine

        width = stack.width
        while True:
            try:
                return StackedEngine(plan, dataset, width)
            except NotStackableError as error:
                log.info("model=%s is trained run by run: %s", plan.config.model.get("name"), error)
                break
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if width == 1:
                    raise ConfigError(
                        f"a run with a global batch of {plan.global_batch:,} samples does not fit "
                        "into the device's memory",
                        "give a smaller micro_batch, or more devices (executor=ddp)",
                    ) from None
                log.info("%d runs at a time do not fit into the device's memory", width)
                width = -(-width // 2)
            # After the error, which keeps what it had reached alive.
            free_memory()
    from bsscale.engines.eager import EagerEngine

    return EagerEngine(plan, dataset)
