"""The runs of a study, compared with what its study.json registers and settles."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from bsscale.errors import RecordsError
from bsscale.records.chain import shown_hash
from bsscale.records.identity import differences, identifying
from bsscale.records.run_record import RunRecord, read_run
from bsscale.records.study_record import RegisteredArm, StudyRecord

__all__ = [
    "RUNS",
    "finished_runs",
    "missing_runs",
    "repeated_runs",
    "run_digest",
    "run_faults",
    "target_faults",
]

# Where a study keeps the runs of its arms, and all its runs.
RUNS = "runs"
_FOLDERS = (RUNS, "target", "tuning")
# How far the clocks of the hosts that train may be apart.
_SKEW = timedelta(seconds=60)


def finished_runs(directory: Path) -> Iterator[Path]:
    """The directories of a study's runs that have a run.json, by their names."""
    for folder in _FOLDERS:
        yield from sorted(path.parent for path in (directory / folder).rglob("run.json"))


def run_digest(directory: Path) -> str:
    """SHA-256 of a run's records: run.json, then evals.jsonl."""
    made = hashlib.sha256()
    for name in ("run.json", "evals.jsonl"):
        path = directory / name
        content = path.read_bytes() if path.exists() else b""
        made.update(f"{name} {len(content)}\n".encode() + content)
    return made.hexdigest()


def missing_runs(directory: Path, study: StudyRecord) -> list[str]:
    """The runs that the chain has and the directory has not, by their paths in it."""
    return [path for path in study.trained if not (directory / path / "run.json").exists()]


def repeated_runs(study: StudyRecord) -> list[str]:
    """The runs that were trained again because their records were gone, by their paths."""
    times: dict[str, int] = {}
    for entry in study.chain:
        for path in entry.content if entry.kind == "trained" else ():
            times[path] = times.get(path, 0) + 1
    return [path for path, count in times.items() if count > 1]


def target_faults(directory: Path, study: StudyRecord) -> list[str]:
    """Whether the settled target follows from the runs that fixed it, a clause if it does not."""
    margin, target = study.settled.get("margin"), study.settled.get("target")
    if not isinstance(margin, int | float) or not isinstance(target, int | float):
        return []  # it was given, or is not settled yet
    best = _adopted_values(study)
    for name in study.trained:
        try:
            value = read_run(directory / name).best_value if name.startswith("target/") else None
        except RecordsError:  # (gone, or changed: said elsewhere)
            return []
        if value is not None:
            best.append(value)
    if not best:
        return []
    found = study.registered.criterion.target(best, margin)
    if found == target:
        return []
    return [f"the target {target} was settled, and the runs that fix it give {found}"]


def _adopted_values(study: StudyRecord) -> list[float]:
    """The best values of the adopted runs that were known when the target was settled."""
    values = []
    for entry in study.chain:
        if entry.kind != "settled":
            continue
        for name, content in entry.content.items():
            value = content.get("best_value") if name.startswith("adopted seed-") else None
            values += [] if value is None else [value]
        if "target" in entry.content:
            break
    return values


def run_faults(directory: Path, study: StudyRecord) -> dict[str, str]:
    """What in a run does not agree with the study, a clause for each such run.

    Parameters
    ----------
    directory
        The study's.
    study
        What is registered and settled; its chain is whole.

    Returns
    -------
    By the path of the run in the directory. Runs that failed or cannot be read are not among them,
    unless the chain has them.
    """
    sealed, faults = study.trained, {}
    for path in finished_runs(directory):
        name = path.relative_to(directory).as_posix()
        fault = None
        try:
            record = read_run(path)
            digest = run_digest(path)
        except (RecordsError, OSError) as error:
            if name in sealed:
                fact = error.fact if isinstance(error, RecordsError) else str(error)
                faults[name] = f"its records were changed after it had ended: {fact}"
            continue
        if name in sealed and digest != sealed[name]:
            fault = "its records were changed after it had ended"
        elif record.status != "failed":
            fault = _fault(name, record, study)
        if fault is not None:
            faults[name] = fault
    return faults


def _fault(name: str, record: RunRecord, study: StudyRecord) -> str | None:
    """The first thing that is not as registered."""
    if record.study != study.hash:
        return f"it is a run of {f'study {record.study}' if record.study else 'no study'}"
    position = next((k for k, e in enumerate(study.chain) if e.hash == record.study_head), None)
    if position is None:
        head = "no entry" if record.study_head is None else shown_hash(record.study_head)
        return (
            f"it was trained under {head} of the chain, which is not in study.json: that is an "
            "older copy, or was written again"
        )
    if record.adopted is not None:  # (it is none of the study's own; the chain says which it is)
        own = f"{RUNS}/{record.arm}/seed-{record.seed}"
        is_known = study.settled.get(f"adopted seed-{record.seed}") == record.adopted
        is_own = name == own and record.arm == study.baseline
        return None if is_known and is_own else "it is none of the runs that the study adopted"
    registered_at = study.chain[0].time
    if record.began is not None and _before(record.began, registered_at):
        return f"it began at {record.began}, before the registration at {registered_at}"
    if name.split("/")[0] == RUNS:
        if name != (own := f"{RUNS}/{record.arm}/seed-{record.seed}"):
            return f"its record is that of {own}"
        since = _registered_since(record, study)
        if since is None:
            return "its arm or its seed is not registered"
        if position < since:
            return f"it was trained before its arm and seed were added at {study.chain[since].time}"
    found = differences(*_expected_and_found(name, record, study))
    listed = "; ".join(f"{key} is {now}, and {then} is registered" for key, then, now in found)
    return f"its configuration is another one: {listed}" if found else None


def _before(time: str, other: str) -> bool:
    try:
        return datetime.fromisoformat(time) < datetime.fromisoformat(other) - _SKEW
    except (TypeError, ValueError):  # (no time, or one without its zone)
        return True


def _registered_since(record: RunRecord, study: StudyRecord) -> int | None:
    """The number of the entry since which a run's arm and its seed are registered."""
    arms = {arm.name: 0 for arm in study.registered.arms}
    seeds = dict.fromkeys(study.registered.seeds, 0)
    entries = [number for number, entry in enumerate(study.chain) if entry.kind == "amended"]
    for number, amendment in zip(entries, study.amendments, strict=False):
        for arm in amendment.arms_added:
            arms.setdefault(arm.name, number)
        for seed in amendment.seeds_added:
            seeds.setdefault(seed, number)
    if record.arm not in arms or record.seed not in seeds:
        return None
    return max(arms[record.arm], seeds[record.seed])


def _expected_and_found(
    name: str, record: RunRecord, study: StudyRecord
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run should have been, and what it was, as far as that is registered or settled."""
    registered, config = study.registered, record.config
    expected = {**registered.settings, "data_key": registered.data_key, **_own(name, study)}
    if momenta := _momenta(name, record, study):
        expected["optimizer"] = _with_momentum(
            expected.get("optimizer"), config.get("optimizer"), momenta
        )
    found = _same_keys(expected, {**config, "data_key": record.data_key})
    if "device" in expected:
        device = record.environment.get("device")
        found["device"] = "script" if device is None else str(device).partition(" ")[0]
        if found["device"] not in ("cpu", "script"):  # (the name of a GPU)
            found["device"] = "cuda"
    if isinstance(trainer := found.get("trainer"), Mapping):
        found["trainer"] = identifying(trainer)
    if name.split("/")[0] == RUNS:
        arm = next(each for each in study.arms if each.name == record.arm)
        of_arm = _of_arm(arm, study)
        expected |= of_arm
        found |= _same_keys(
            of_arm,
            {**msgspec.to_builtins(record), "schedule": config.get("schedule")},
        )
    return expected, found


def _own(name: str, study: StudyRecord) -> dict[str, Any]:
    """The options that the arm of a run has of its own, also in a search for its rate."""
    folder, *below = name.split("/")
    label = below[1] if below[:1] == ["flat_ends"] else below[0]
    if folder not in (RUNS, "tuning"):
        return {}
    for arm in study.arms:
        if label == arm.name or label.startswith(f"{arm.name}-momentum-"):
            return arm.own or {}
    return {}


def _momenta(name: str, record: RunRecord, study: StudyRecord) -> list[Any]:
    """The momenta that the optimizer of a run may have beside the registered one."""
    if name.split("/")[0] == RUNS:
        configured = study.settled.get(f"arm {record.arm}")
        momentum = configured.get("momentum") if isinstance(configured, Mapping) else None
        return [] if momentum is None else [momentum]
    if not name.startswith("tuning/") or "-momentum-" not in name:
        return []
    searched = study.registered.options.get("momenta")
    return list(searched) if isinstance(searched, list) else []


def _with_momentum(registered: Any, found: Any, momenta: list[Any]) -> Any:
    """The registered optimizer, with that option of the run's which is one of the momenta."""
    if not isinstance(registered, Mapping) or not isinstance(found, Mapping):
        return registered
    moved = [key for key, value in registered.items() if found.get(key) != value]
    if len(moved) == 1 and found.get(moved[0]) in momenta:
        return {**registered, moved[0]: found[moved[0]]}
    if len(momenta) == 1 and momenta[0] not in found.values():
        return {**registered, "momentum": momenta[0]}
    return registered


def _of_arm(arm: RegisteredArm, study: StudyRecord) -> dict[str, Any]:
    """What the runs of an arm have in common, as in their records."""
    settled = study.settled
    configured = settled.get(f"arm {arm.name}")
    return {
        "gpus": arm.gpus,
        "target": settled.get("target"),
        "budget_samples": settled.get("budget_samples"),
        **(
            {key: value for key, value in configured.items() if key != "momentum"}
            if isinstance(configured, Mapping)
            else {}
        ),
    }


def _same_keys(wanted: Mapping[str, Any], data: Any) -> dict[str, Any]:
    """Those of the data that `wanted` has too; likewise within a schedule or an executor."""
    data = data if isinstance(data, Mapping) else {}
    return {
        key: _same_keys(value, data.get(key))
        if isinstance(value, Mapping) and key in ("schedule", "executor")
        else data.get(key)
        for key, value in wanted.items()
    }
