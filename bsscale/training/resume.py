"""The start of a run: its beginning, or the checkpoint of an interrupted start."""

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
from bsscale.records.identity import differences, is_identifying
from bsscale.records.run_record import RunRecord, read_run
from bsscale.records.schema import FORMAT_VERSION
from bsscale.records.secrets import without_secrets

__all__ = ["Start", "continued", "find_start"]

# Options that do not change the training, only where and how it is carried out.
_EXCLUDED = (
    "task",
    "tracker",
    "executor",
    "dry_run",
    "resume",
    "checkpoint_interval_samples",
    "workers",
    "noise_scale",
    "weights",
)


@dataclass(frozen=True)
class Start:
    """The start of a run.

    Attributes
    ----------
    plan
        The plan of the run.
    finished
        Its record, if it has ended already.
    checkpoint
        The checkpoint from which it continues; None: it begins.
    path
        The checkpoint's file.
    anew
        Whether an earlier start has left evaluations but no checkpoint.
    """

    plan: Plan
    finished: RunRecord | None = None
    checkpoint: Checkpoint | None = None
    path: Path | None = None
    anew: bool = False


def find_start(directory: Path, plan: Plan) -> Start:
    """Find the start of the run whose records are in `directory`.

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
        # (if there are evaluations, a checkpoint or plan.json describes the training)
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

    Where the configuration does not set the evaluation grid, the budget and the target, the earlier
    values are kept. Their defaults depend on the micro-batch, and another number of replicas with
    the same global batch must be the same training.

    Parameters
    ----------
    plan
        The run as configured now.
    then
        What the earlier start trained, as `Plan.training` describes it.
    refused
        The error's fact, if that was another training.

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
            f"{directory} holds a run of format version {record.format_version}, which can be "
            "read but not continued",
            remedy,
        )
    return record


def _refuse_other_run(directory: Path, record: RunRecord, plan: Plan) -> None:
    """Raise ConfigError if the run that ended here was another one."""
    # (a record that is older than the choice of a trainer has none)
    then = {"trainer": {"name": "bsscale"}, **record.config, "data_key": record.data_key}
    now = plain({**without_secrets(asdict(plan.config)), "data_key": plan.data_key})
    found = [
        difference
        for difference in differences(then, now)
        if difference[0].split(".")[0] not in _EXCLUDED and is_identifying(difference[0])
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
            f"{directory} holds evaluations of a run, but no description of the training",
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
