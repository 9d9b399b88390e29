"""Where a run begins: at its beginning, or where an earlier start of it was interrupted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bsscale.arms import differences
from bsscale.checkpoints import Checkpoint, newest_checkpoint, read_checkpoint
from bsscale.config import Config
from bsscale.errors import ConfigError, RecordsError
from bsscale.plan import Plan
from bsscale.records import RunRecord, plain, read_run, refuse_occupied

__all__ = ["Start", "continued", "find_start"]

log = logging.getLogger(__name__)

# Options that say where and how a run is carried out, not what it trains.
_NOT_OF_THE_TRAINING = (
    "task",
    "tracker",
    "executor",
    "dry_run",
    "resume",
    "checkpoint_interval_samples",
)


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Attributes
    ----------
    plan
        Its numbers.
    finished
        Its record, if it has ended already.
    checkpoint
        Where it goes on; None: at its beginning.
    path
        The checkpoint's file.
    """

    plan: Plan
    finished: RunRecord | None = None
    checkpoint: Checkpoint | None = None
    path: Path | None = None


def find_start(
    directory: Path, config: Config, plan: Plan, resolved: Mapping[str, Any] | None = None
) -> Start:
    """Where the run that is to be recorded in `directory` begins.

    Parameters
    ----------
    directory
        The run's output directory.
    config, plan
        What to train.
    resolved
        The configuration with what the plan settled filled in.

    Raises
    ------
    RecordsError
        If the directory holds a run and ``resume=never``, or there is no such checkpoint.
    ConfigError
        If what the directory or the checkpoint holds is another training.
    """
    if config.resume == "never":
        refuse_occupied(directory)
        return Start(plan)
    if (directory / "run.json").exists():
        try:
            record = read_run(directory)
        except RecordsError as error:
            raise RecordsError(
                f"{directory} already holds a run that cannot be read: {error.fact}",
                "give another directory (hydra.run.dir=PATH), or move the old one away",
            ) from error
        if record.status != "failed":
            _refuse_other_run(directory, record.config, resolved or {})
            return Start(plan, finished=record)
    path = newest_checkpoint(directory)
    if path is None and config.resume != "auto":
        path = _named(Path(config.resume))
    if path is None:
        if (directory / "evals.jsonl").exists():
            log.info("%s holds a run without a checkpoint: it begins anew", directory)
        return Start(plan)
    checkpoint = read_checkpoint(path)
    return Start(continued(config, plan, checkpoint, str(path)), None, checkpoint, path)


def continued(config: Config, plan: Plan, checkpoint: Checkpoint, name: str) -> Plan:
    """The plan of a run that goes on from a checkpoint.

    Evaluation grid, budget and target are the checkpoint's where the configuration leaves them to
    defaults, which follow the micro-batch: another number of replicas is the same training.

    Parameters
    ----------
    config, plan
        The run as configured now.
    checkpoint, name
        Where it is to go on, and what that is called.

    Raises
    ------
    ConfigError
        If the checkpoint is of another training; the difference is shown.
    """
    then = checkpoint.training
    kept: dict[str, Any] = {}
    if config.eval_interval_samples is None:
        kept["eval_interval_samples"] = then.get("eval_interval_samples")
    if config.budget_samples is None and config.budget_passes is None:
        kept["budget_samples"] = then.get("budget_samples")
    if config.target is None:
        kept["target"] = then.get("target")
    plan = replace(plan, **kept)
    if found := differences(then, plan.training):
        raise ConfigError(
            f"{name} is a checkpoint of another training:{_listed(found)}",
            "give the options that it was made with, or train in another directory "
            "(hydra.run.dir=PATH)",
        )
    return replace(plan, steps=-(-plan.budget_samples // plan.global_batch))


def _refuse_other_run(directory: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    found = [
        difference
        for difference in differences(then, plain(now))
        if difference[0].split(".")[0] not in _NOT_OF_THE_TRAINING
    ]
    if found:
        raise ConfigError(
            f"{directory} holds a finished run of another configuration:{_listed(found)}",
            "give another directory (hydra.run.dir=PATH), or move the old one away",
        )


def _listed(found: list[tuple[str, Any, Any]]) -> str:
    return "".join(f"\n     {key}: {then} there, {now} here" for key, then, now in found)


def _named(path: Path) -> Path:
    """The checkpoint that ``resume=PATH`` names."""
    if not path.is_dir():
        if not path.exists():
            raise RecordsError(
                f"resume={path}: there is no such file or directory",
                "give auto, never, a checkpoint or a run's directory",
            )
        return path
    newest = newest_checkpoint(path)
    if newest is None:
        raise RecordsError(
            f"resume={path}: the directory holds no checkpoint",
            "a finished run keeps none; give the directory of one that was interrupted",
        )
    return newest
