"""The registration of a study: its plan, written down before its first run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bsscale.errors import ConfigError, FormatVersionError, RecordsError
from bsscale.records.chain import digest, extended, now, shown_hash
from bsscale.records.identity import differences
from bsscale.records.registered_runs import RUNS, finished_runs
from bsscale.records.schema import FORMAT_VERSION
from bsscale.records.study_record import (
    Amendment,
    Registered,
    StudyRecord,
    read_study,
    write_study,
)
from bsscale.study.seal import refuse_changed

__all__ = ["check_registration", "open_study"]

_OTHER = "give another task.directory"


def open_study(directory: Path, wanted: Registered, command: str) -> StudyRecord:
    """Register a study, or continue the one in the directory.

    Parameters
    ----------
    directory
        The study's directory.
    wanted
        The wanted study.
    command
        What was typed.

    Raises
    ------
    ConfigError
        If the directory holds a study of something else, or of other data.
    RecordsError
        If it holds a study that cannot be read, is not continued, or was changed; or runs without
        a study.
    """
    if (directory / "study.json").exists():
        study = _registered_before(directory)
        _amend(directory, study, wanted)
    else:
        _refuse_runs(directory)
        whole = digest(wanted.as_written())
        study = StudyRecord(name=directory.name, hash=shown_hash(whole), registered=wanted)
        study.chain.append(extended(study.chain, "registered", {"sha256": whole}))
    if command not in study.commands:
        study.commands.append(command)
    write_study(directory, study)
    return study


def check_registration(directory: Path, wanted: Registered) -> None:
    """Raise what `open_study` would raise; nothing is written."""
    if (directory / "study.json").exists():
        _amend(directory, _registered_before(directory), wanted)
    else:
        _refuse_runs(directory)


def _refuse_runs(directory: Path) -> None:
    """Raise RecordsError for runs that ended before there was a registration."""
    if found := list(finished_runs(directory)):
        raise RecordsError(
            f"{directory} holds {len(found)} runs and no study.json, so that they ended before "
            "this registration",
            f"restore its study.json, or {_OTHER}",
        )


def _registered_before(directory: Path) -> StudyRecord:
    try:
        study = read_study(directory)
    except RecordsError as error:
        raise type(error)(error.fact, _OTHER) from error
    if study.format_version != FORMAT_VERSION or not study.chain:
        what = (
            f"of format version {study.format_version}"
            if study.format_version != FORMAT_VERSION
            else "without a chain of hashes, of an earlier bsscale or changed since"
        )
        raise FormatVersionError(
            f"{directory} holds a study {what}, which is read but not continued", _OTHER
        )
    refuse_changed(directory, study)
    if digest(study.registered.as_written()) != study.chain[0].content.get("sha256"):
        raise FormatVersionError(
            f"{directory} holds a study that registers what this bsscale does not know",
            f"continue it with the bsscale that began it, or {_OTHER}",
        )
    return study


def _amend(directory: Path, study: StudyRecord, wanted: Registered) -> None:
    """Take up new arms and seeds; refuse any other change."""
    then, now_ = (
        {
            key: value
            for key, value in _settled(registered).items()
            # (a primary arm that is not given follows from the arms at the registration)
            if key not in ("arms", "seeds", "stacks", "primary")
        }
        for registered in (study.registered, wanted)
    )
    if "name" not in then["settings"].get("executor", {}):  # an earlier version registered it
        now_["settings"]["executor"].pop("name")
    changed = [f"{key} was {a} and is now {b}" for key, a, b in differences(then, now_)]
    known = {arm.name: arm for arm in study.arms}
    names = [arm.name for arm in wanted.arms]
    changed += [
        f"arm {arm.name} was {_shown(known[arm.name])} and is now {_shown(arm)}"
        for arm in wanted.arms
        if arm.name in known and known[arm.name] != arm
    ]
    changed += [f"arm {name} was {_shown(arm)} and is gone" for name, arm in known.items()
                if name not in names]  # fmt: skip
    if gone := [str(seed) for seed in study.seeds if seed not in wanted.seeds]:
        changed.append(f"the seeds {', '.join(gone)} are gone")
    if changed:
        raise ConfigError(
            f"{directory} holds another study: {'; '.join(changed)}",
            "give another task.directory, or the options and the data that it was begun with; "
            "arms and seeds may be added",
        )
    arms_added = tuple(arm for arm in wanted.arms if arm.name not in known)
    seeds_added = tuple(seed for seed in wanted.seeds if seed not in study.seeds)
    if arms_added or seeds_added:
        seen = sum(
            path.relative_to(directory).parts[0] == RUNS for path in finished_runs(directory)
        )
        amendment = Amendment(arms_added, seeds_added, now(), seen)
        content = {"sha256": digest(msgspec.to_builtins(amendment))}
        study.chain.append(extended(study.chain, "amended", content))
        study.amendments.append(amendment)


def _settled(registered: Registered) -> Mapping[str, Any]:
    """Everything that is registered, in plain containers."""
    return {
        key: msgspec.to_builtins(getattr(registered, key)) for key in registered.__struct_fields__
    }


def _shown(arm: Any) -> Any:
    return msgspec.to_builtins(arm)
