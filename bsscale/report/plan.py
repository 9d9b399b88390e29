"""The registered plan of a study: what it was, whether it was followed, and what was changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bsscale.records.registered_runs import repeated_runs
from bsscale.records.study_record import Amendment, Registered, StudyRecord
from bsscale.report.read import FoundRun, FoundStudy
from bsscale.report.tables import Table
from bsscale.terminal.words import counted

__all__ = ["describe_look", "plan_followed", "plan_table", "warnings"]

# Of a list in a sentence.
_LONGEST_LIST = 6


def plan_table(study: FoundStudy) -> Table:
    """The registered plan of a study."""
    rows = [[name, value] for name, value in _registered(study.record.registered).items()]
    return Table(f"{study.record.name}: as registered", ("what", "as registered"), rows)


def _registered(registered: Registered) -> dict[str, str]:
    """The registered plan as lines: a name and a value."""
    data = registered.as_written()
    lines: dict[str, str] = {}
    for key, value in data.items():
        if key in ("settings", "options"):
            lines |= {name: _shown(each) for name, each in value.items()}
        elif key != "arms":
            lines[key.replace("_", " ")] = _shown(value)
    for arm in registered.arms:
        described = ", ".join(f"{key}={_shown(each)}" for key, each in arm.schedule.items())
        if arm.own:
            described += f"; {_shown(arm.own)}"
        lines[f"arm {arm.name}"] = f"{arm.role}, {counted(arm.gpus, 'GPU')}: {described}"
    return lines


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_shown(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return "-" if value is None else str(value)


def plan_followed(study: FoundStudy, runs: Iterable[FoundRun]) -> list[str]:
    """Sentences on whether the registered plan was followed."""
    runs = [run for run in runs if run.study is study]
    record = study.record
    done = {(run.record.arm, run.record.seed) for run in runs}
    names = [arm.name for arm in record.arms]
    due = record.seeds_due
    missing = {arm: [s for s in due if (arm, s) not in done] for arm in names}
    more = sorted({arm for arm, _ in done} - set(names)) if names else []
    extra = sorted({seed for _, seed in done} - set(record.seeds)) if record.seeds else []
    said = [f"Changed: {fault}." for fault in study.faults]
    said += [f"Changed: {path}: {fault}." for path, fault in study.wrong_runs.items()]
    said += [f"Amended: {_amended(each)}." for each in record.amendments]
    said += [f"Deviation: {each.rstrip('.')}." for each in record.deviations]
    said += [f"Gone: the records of {path}, which had ended." for path in study.missing]
    said += [
        f"Deviation: {path} was trained again, because its records were gone."
        for path in repeated_runs(record)
    ]
    for arm, seeds in missing.items():
        if seeds:
            which = ", ".join(map(str, seeds))
            said.append(f"Missing: {arm}, seed{'s' if len(seeds) > 1 else ''} {which}.")
    if more:
        said.append(f"Not registered: the arm{'s' if len(more) > 1 else ''} {', '.join(more)}.")
    if extra:
        said.append(f"Not registered: seeds {', '.join(map(str, extra))}.")
    planned = f"{len(record.arms)} arms x {len(due)} seeds"
    first = f"The registered plan was followed: {planned}, nothing missing, nothing added."
    if said:
        first = f"The registered plan was changed or not completed ({planned} in all)."
    looks = [describe_look(look) for look in record.looked]
    adopted = [f"{_adopted(record, found)}." for found in [_entries(record)] if found]
    return [
        first, *said, *adopted, *_untuned(record), *looks, *_environments(runs), _seal(study),
    ]  # fmt: skip


def describe_look(look: Mapping[str, Any]) -> str:
    """A look of a study at the runs of its arms, in a sentence."""
    undecided, next_seeds = look.get("undecided"), look.get("next_seeds")
    says = f"undecided are {_shown(undecided)}" if undecided else "every arm is decided"
    goes = "the study stops" if next_seeds is None else f"it goes on to {next_seeds} seeds"
    return f"Look at {look.get('seeds')} seeds: {says}; {goes}."


def _amended(amendment: Amendment) -> str:
    parts = []
    if amendment.arms_added:
        parts.append("arms added: " + ", ".join(arm.name for arm in amendment.arms_added))
    if amendment.seeds_added:
        parts.append("seeds added: " + ", ".join(map(str, amendment.seeds_added)))
    if amendment.time is not None:
        seen = amendment.runs_seen
        when = f"after {seen} runs" if seen else "before any run"
        parts.append(f"at {amendment.time}, {when} of the arms had ended")
    return "; ".join(parts)


def _entries(record: StudyRecord) -> list[Mapping[str, Any]]:
    """The adopted runs, as the chain has them."""
    return [content for name, content in record.settled.items() if name.startswith("adopted seed-")]


def _adopted(record: StudyRecord, entries: Sequence[Mapping[str, Any]]) -> str:
    """What was adopted, in a clause."""
    formats = dict.fromkeys(str(each.get("format")) for each in entries)
    given = record.registered.target is not None
    follows = "" if given else ", and the target follows from them"
    return (
        f"Adopted, not registered: the {len(entries)} runs of {record.baseline} "
        f"({', '.join(formats)}, from {record.registered.options.get('adopt')}) existed before the "
        f"study{follows}"
    )


def _untuned(record: StudyRecord) -> list[str]:
    """The arms that a range test should have configured, and did not."""
    return [
        f"{', '.join(arms)} has the untuned defaults of its schedule, by the registered rule: the "
        f"range test at {counted(each.gpus, 'GPU')} suggests nothing, because "
        f"{each.reason.rstrip('.')}."
        for each in record.presets
        if (arms := record.untuned(each))
    ]


def _environments(runs: Sequence[FoundRun]) -> list[str]:
    """What is listed and not refused: commits, versions and machines, where the runs differ."""
    values: dict[str, dict[str, None]] = {}
    for run in runs:
        packages = run.record.environment.get("packages")
        found = {**run.record.environment, **(packages if isinstance(packages, Mapping) else {})}
        for key, value in found.items():
            if key not in ("packages", "stack_width"):
                values.setdefault(key, {})[str(value)] = None
    return [
        f"The runs differ in {key.replace('_', ' ')}: {', '.join(list(each)[:_LONGEST_LIST])}."
        for key, each in values.items()
        if len(each) > 1
    ]


def _seal(study: FoundStudy) -> str:
    record = study.record
    if record.head is None:
        return (
            "The study was registered without a chain of hashes, as earlier versions did: whether "
            "its plan was changed later cannot be checked."
        )
    return (
        f"Registered at {record.chain[0].time} as {record.hash}. The chain of {len(record.chain)} "
        f"entries ends with {record.head}: whoever noted an earlier end can check that it is still "
        "in study.json."
    )


def warnings(studies: Sequence[FoundStudy]) -> list[str]:
    """What a reader of the verdict must know about the registration, a sentence each."""
    said = []
    for study in studies:
        name = f" of {study.record.name}" if len(studies) > 1 else ""
        if wrong := len(study.faults) + len(study.wrong_runs) + len(study.missing):
            said.append(
                f"Do not rely on this: the records{name} do not agree with the registration in "
                f"{wrong} place{'s' if wrong > 1 else ''}."
            )
        if entries := _entries(study.record):
            said.append(
                f"{_adopted(study.record, entries)}. Nothing shows whether they were chosen after "
                "their results were known."
            )
            if any(each.get("format") != "records" for each in entries):
                said.append(
                    "The data, the model, the batch and the options of adopted curves are not "
                    "recorded, as far as their source does not name them: they are taken to be "
                    "those of the study."
                )
            if not all(each.get("has_seed", True) for each in entries):
                said.append(
                    "The seeds of adopted curves are not known: they are numbered in their order, "
                    "so that runs with the same number have nothing in common."
                )
        for amendment in study.record.amendments:
            if amendment.runs_seen:
                added = [
                    *(f"the arm {arm.name}" for arm in amendment.arms_added),
                    *(f"seed {seed}" for seed in amendment.seeds_added),
                ]
                listed = ", ".join(added[:_LONGEST_LIST])
                more = len(added) - _LONGEST_LIST
                listed += f" and {more} more" if more > 0 else ""
                seen = f"when {amendment.runs_seen} runs had ended"
                said.append(f"Added{name} after a look, {seen}: {listed}.")
    return said
