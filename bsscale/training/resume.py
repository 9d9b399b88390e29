"""Where a run begins: at its beginning, or where an earlier start of it was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bsscale.errors import ConfigError, FormatVersionError, RecordsError
from bsscale.files.replace import plain
from bsscale.planning.plan import Plan
from bsscale.records.checkpoints import Checkpoint, newest_checkpoint, read_checkpoint, read_plan
from bsscale.records.directories import refuse_occupied
from bsscale.records.evaluation import read_evals
from bsscale.records.identity import differences
from bsscale.records.run_record import RunRecord, read_run
from bsscale.records.schema import FORMAT_VERSION

__all__ = ["Start", "continued", "find_start"]

# Options that say where and how a run is carried out, not what it trains.
_NOT_OF_THE_TRAINING = (
    "task",
    "tracker",
    "executor",
    "dry_run",
    "resume",
    "checkpoint_interval_samples",
    "workers",
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
    anew
        Whether an earlier start has left evaluations, and no checkpoint.
    """

    plan: Plan
    finished: RunRecord | None = None
    checkpoint: Checkpoint | None = None
    path: Path | None = None
    anew: bool = False


def find_start(directory: Path, plan: Plan) -> Start:
    """Where the run that is to be recorded in `directory` begins.

    Parameters
    ----------
    directory
        The run's output directory.
    plan
        What to train.

    Raises
    ------
    RecordsError
        If the directory holds a run and ``resume=never``, or what cannot be read, or there is no
        such checkpoint.
    FormatVersionError
        If it holds a run of another format version.
    ConfigError
        If what the directory or the checkpoint holds is another training, or of other data.
    """
    resume = plan.config.resume
    if resume == "never":
        refuse_occupied(directory)
        return Start(plan)
    if (record := _record(directory)) is not None and record.status != "failed":
        _refuse_other_run(directory, record, plan)
        return Start(plan, finished=record)
    anew = False
    path = newest_checkpoint(directory)
    if record is not None and path is None and not (directory / "evals.jsonl").exists():
        # (what it trained is told by a checkpoint or plan.json where there are evaluations)
        _refuse_other_run(directory, record, plan)
    if path is None and (directory / "evals.jsonl").exists():
        _refuse_other_plan(directory, plan)
        anew = True
    if path is None and resume != "auto":
        path = _named(Path(resume))
    if path is None:
        return Start(plan, anew=anew)
    checkpoint = read_checkpoint(path)
    then = checkpoint.training
    return Start(
        continued(plan, then, f"{path} is a checkpoint of another training"), None, checkpoint, path
    )


def continued(plan: Plan, then: Mapping[str, Any], refused: str) -> Plan:
    """The plan of a run that an earlier start has begun.

    Evaluation grid, budget and target are the earlier ones where the configuration leaves them to
    defaults, which follow the micro-batch: another number of replicas is the same training.

    Parameters
    ----------
    plan
        The run as configured now.
    then
        What the earlier start trained, as `Plan.training` describes it.
    refused
        What to say if that was another training.

    Raises
    ------
    ConfigError
        If it was another training; the difference is shown.
    """
    config = plan.config
    kept: dict[str, Any] = {}
    if config.eval_interval_samples is None:
        kept["eval_interval_samples"] = then.get("eval_interval_samples")
    if config.budget_samples is None and config.budget_passes is None:
        kept["budget_samples"] = then.get("budget_samples")
    plan = replace(plan, **kept)
    if plan.target_source != "given":
        plan = plan.with_target(then.get("target"), plan.target_source)
    if found := differences(then, plan.training):
        raise ConfigError(
            f"{refused}:{_listed(found)}",
            "give the options and the data that it was made with, or train in another directory "
            "(hydra.run.dir=PATH)",
        )
    return replace(plan, steps=-(-plan.budget_samples // plan.global_batch))


def _record(directory: Path) -> RunRecord | None:
    """The record of a run that has ended in `directory`, if there is one."""
    path = directory / "run.json"
    if not path.exists():
        return None
    remedy = "give another directory (hydra.run.dir=PATH), or move the old one away"
    try:
        record = read_run(directory)
    except RecordsError as error:
        raise type(error)(
            f"{directory} already holds a run that cannot be read: {error.fact}", remedy
        ) from error
    if record.format_version != FORMAT_VERSION:
        raise FormatVersionError(
            f"{directory} holds a run of format version {record.format_version}, which is read but "
            "not continued",
            remedy,
        )
    return record


def _refuse_other_run(directory: Path, record: RunRecord, plan: Plan) -> None:
    """Raise ConfigError if the run that ended here was another one."""
    then = {**record.config, "data_key": record.data_key}
    now = plain({**asdict(plan.config), "data_key": plan.data_key})
    found = [
        difference
        for difference in differences(then, now)
        if difference[0].split(".")[0] not in _NOT_OF_THE_TRAINING
    ]
    if found:
        raise ConfigError(
            f"{directory} holds a {'failed' if record.status == 'failed' else 'finished'} run of "
            f"another configuration or of other data:"
            f"{_listed(found)}",
            "give another directory (hydra.run.dir=PATH), or move the old one away",
        )


def _refuse_other_plan(directory: Path, plan: Plan) -> None:
    """Raise if the run that an earlier start has begun here was another one."""
    then = read_plan(directory)
    if then is None and not read_evals(directory):  # nothing is lost
        return
    if then is not None:
        continued(plan, then, f"{directory} holds an unfinished run of another training")
    else:
        raise RecordsError(
            f"{directory} holds evaluations of a run, and not what it trained",
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
