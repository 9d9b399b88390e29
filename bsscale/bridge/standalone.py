"""A script's run that bsscale has not started: it writes the records that task=report reads."""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from bsscale.bridge.channel import Following, Reporter, Teller, launch_id
from bsscale.bridge.contract import Contract, write_contract
from bsscale.bridge.judged import Judged
from bsscale.bridge.noise import recorded_noise
from bsscale.errors import ConfigError, FormatVersionError, RecordsError
from bsscale.files.replace import plain
from bsscale.records.chain import now
from bsscale.records.environment import describe_environment
from bsscale.records.evaluation import EvalPoint, read_evals
from bsscale.records.identity import arm_hash
from bsscale.records.run_record import RunRecord, read_run
from bsscale.records.schema import FORMAT_VERSION
from bsscale.records.secrets import without_secrets
from bsscale.records.writer import Records

__all__ = ["begin"]


def begin(
    *,
    micro_batch: int,
    budget_samples: int,
    base_lr: float,
    schedule: str | Mapping[str, Any] = "fixed",
    scaling: str | Mapping[str, Any] = "none",
    gpus: int = 1,
    grad_accum: int = 1,
    seed: int = 0,
    momentum: float | None = None,
    samples_per_pass: int | None = None,
    metric: str = "auc",
    direction: Literal["max", "min"] | None = None,
    target: float | None = None,
    stop_at_target: bool = True,
    eval_interval_samples: int | None = None,
    arm: str | None = None,
    directory: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    rank: int = 0,
    limit_s: float = 3600.0,
) -> tuple[Contract, Path, Teller]:
    """A run from keywords, which are named as the options of a command line are.

    Parameters
    ----------
    micro_batch, gpus, grad_accum
        One update has ``micro_batch x gpus x grad_accum`` samples.
    budget_samples
        The most samples.
    base_lr, schedule, scaling
        The rate at one GPU; the schedule's name, or its name and options, as in
        ``{"name": "onecycle", "cycle_max_lr": 0.8}``; the scaling rule likewise.
    momentum
        The optimizer's, which a cycle moves; None: it is left alone.
    samples_per_pass
        Training samples in one pass, for lengths in fractions of it.
    metric, direction, target, stop_at_target
        What judges the run, whether higher values are better (max) or lower ones (min; known for
        the usual metrics), and the value at which it ends.
    eval_interval_samples
        The evaluation grid; None: 128 x micro_batch.
    arm, settings
        The label of runs that differ only in their seed, and what else distinguishes them (the name
        of the model, say).
    directory
        Where the records go; None: ``runs/ARM/seed-SEED``.
    rank, limit_s
        Of this process, and how long one above 0 waits for rank 0.

    Raises
    ------
    ConfigError
        For keywords with which no run is possible.
    RecordsError
        If the directory holds a run that has ended.
    """
    from bsscale.objectives import Reported
    from bsscale.planning.derive import DEFAULT_EVAL_INTERVAL_MICRO_BATCHES
    from bsscale.schedules.options.given import given_options, make_schedule
    from bsscale.schedules.options.scaling import given_scaling, make_scaling

    counts = {
        "micro_batch": micro_batch,
        "gpus": gpus,
        "grad_accum": grad_accum,
        "budget_samples": budget_samples,
    }
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"join({name}={count}) is below 1", f"give {name}=1 or more")
    named = {"name": schedule} if isinstance(schedule, str) else dict(schedule)
    try:
        options = given_options(make_schedule(named))
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"join(schedule={schedule!r}): there is no such schedule or option ({error})",
            "give a name such as onecycle, or its name and options as a mapping",
        ) from None
    judge = Reported(metric_name=metric, direction=direction)
    label = arm or f"{named['name']} gpus={gpus}"
    where = Path(directory or Path("runs") / label.replace("/", "_") / f"seed-{seed}").absolute()
    batch = micro_batch * gpus * grad_accum
    draft = Contract(
        arm=label, seed=seed, gpus=gpus, micro_batch=micro_batch, grad_accum=grad_accum,
        global_batch=batch, lr=base_lr, momentum=momentum, base_lr=base_lr,
        schedule=plain(options), scaling=plain(given_scaling(make_scaling(scaling))),
        configured_momentum=momentum, samples_per_pass=samples_per_pass, metric=metric,
        direction=judge.metric(None).direction, loss=judge.loss or metric, target=target,
        stop_at_target=stop_at_target, budget_samples=budget_samples,
        steps=-(-budget_samples // batch),
        eval_interval_samples=eval_interval_samples
        or DEFAULT_EVAL_INTERVAL_MICRO_BATCHES * micro_batch,
        resumed=(where / "evals.jsonl").exists(), start=launch_id(),
    )  # fmt: skip
    rates = draft.built_schedule()
    moved = rates.momentum(0)
    contract = msgspec.structs.replace(
        draft, lr=float(rates.lr(0)), momentum=momentum if moved is None else float(moved)
    )
    if rank > 0:
        return contract, where, Following(where, contract.start, rank, limit_s)
    return contract, where, _Alone(contract, where, dict(settings or {}))


class _Alone:
    """Rank 0 of a script that nothing else has started: it writes the records itself."""

    def __init__(self, contract: Contract, directory: Path, settings: dict[str, Any]) -> None:
        self._contract, self._directory = contract, directory
        self._config = without_secrets(_config(contract, settings))
        _refuse_ended(directory)
        earlier = read_evals(directory) if contract.resumed else []
        self._judged = Judged(contract, earlier)
        self._records = Records(directory, earlier)
        write_contract(directory, contract)
        self._reporter = Reporter(directory, contract.start)
        self._began, self._started = now(), time.perf_counter()
        self._before_s = max((point.wall_s or 0.0 for point in earlier), default=0.0)
        self._is_open = True
        atexit.register(self._at_exit)

    def report(self, data: Mapping[str, Any]) -> str | None:
        judged = self._judged
        fresh = not judged.begun
        point = judged.add(data, self._seconds())
        if fresh and len(judged.trajectory.points) <= len(judged.earlier):
            self._records.rewind(judged.trajectory.points[:-1])
        if point is not None:
            self._records.on_eval(point)
        self._reporter.send(data, judged.status)
        if judged.status is not None:
            self._finish(judged.status, judged.trajectory.reason)
        return judged.status

    def close(self, error: BaseException | None) -> None:
        if not self._is_open:
            return
        if error is not None:
            self._finish("failed", f"{type(error).__name__}: {error}")
        elif not self._judged.begun:
            self._finish("failed", "the script ended and reported nothing")
        else:
            self._judged.trajectory.end_itself()
            self._finish(self._judged.status or "failed", self._judged.trajectory.reason)

    def _at_exit(self) -> None:
        # (Python keeps an error that nothing has caught)
        self.close(getattr(sys, "last_value", None))

    def _seconds(self) -> float:
        return self._before_s + time.perf_counter() - self._started

    def _finish(self, status: str, reason: str) -> None:
        self._is_open = False
        atexit.unregister(self._at_exit)
        self._records.finish(self._record(status, reason))
        self._records.close()

    def _record(self, status: str, reason: str) -> RunRecord:
        contract, run = self._contract, self._judged.trajectory
        last: EvalPoint | None = run.points[-1] if run.points else None
        hit = run.crossing() if status == "reached" else None
        wall_s = self._seconds()
        samples = 0 if last is None else last.samples
        return msgspec.convert(
            {
                **msgspec.to_builtins(contract),
                "status": status,
                "reason": reason,
                "arm_hash": arm_hash(self._config),
                "study": None,
                "began": self._began,
                "samples_to_target_interval": None if hit is None else hit.interval,
                "samples_to_target": None if hit is None else hit.samples,
                "best_value": run.best_value,
                "final_value": run.last_value,
                "test_value": None,
                "best_possible": None,
                "samples_seen": samples,
                "steps": 0 if last is None else last.step,
                "schedule": contract.schedule["name"],
                "scaling": None if contract.scaling["name"] == "none" else contract.scaling["name"],
                "optimizer": None,
                "model": None,
                "dataset": None,
                "objective": "reported",
                "executor": "script",
                "trainer": "script",
                "data_key": None,
                "columns": None,
                "samples_per_s": samples / wall_s if wall_s > 0 else None,
                "eval_share": None,
                "wall_s": wall_s,
                "environment": describe_environment("script"),
                "config": self._config,
                **recorded_noise(self._directory),
            },
            RunRecord,
        )


def _config(contract: Contract, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the runs of an arm have in common, and the seed."""
    names = (
        "schedule", "scaling", "gpus", "micro_batch", "grad_accum", "base_lr", "metric", "target",
        "stop_at_target", "budget_samples", "eval_interval_samples", "seed",
    )  # fmt: skip
    of_run = msgspec.to_builtins(contract)
    trainer = {"name": "script", "settings": plain(settings)}
    return {**{name: of_run[name] for name in names}, "trainer": trainer}


def _refuse_ended(directory: Path) -> None:
    """Raise RecordsError for a directory whose run has ended, or is of another format."""
    remedy = "give join(directory=PATH), or move the old one away"
    try:
        record = read_run(directory)
    except FormatVersionError as error:
        raise FormatVersionError(error.fact, remedy) from None
    except RecordsError:
        if (directory / "run.json").exists():
            raise
        return
    if record.status != "failed" or record.format_version != FORMAT_VERSION:
        raise RecordsError(f"{directory} already holds a run that has ended", remedy)
