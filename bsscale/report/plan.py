"""The registered plan of a study, and whether it was followed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from bsscale.records.study_record import Amendment, Registered
from bsscale.report.read import FoundRun, FoundStudy
from bsscale.report.tables import Table

__all__ = ["plan_followed", "plan_table"]


def plan_table(study: FoundStudy) -> Table:
    """The registered plan of a study."""
    rows = [[name, value] for name, value in _registered(study.record.registered).items()]
    return Table(f"{study.record.name}: as registered", ("what", "as registered"), rows)


def _registered(registered: Registered) -> dict[str, str]:
    """The registered plan as lines: a name and a value."""
    data = msgspec.to_builtins(registered)
    lines: dict[str, str] = {}
    for key, value in data.items():
        if key == "settings":
            lines |= {name: _shown(each) for name, each in value.items()}
        elif key != "arms":
            lines[key.replace("_", " ")] = _shown(value)
    for arm in registered.arms:
        described = ", ".join(f"{key}={_shown(each)}" for key, each in arm.schedule.items())
        lines[f"arm {arm.name}"] = f"{arm.role}, {arm.gpus} gpus: {described}"
    return lines


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_shown(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return "-" if value is None else str(value)


def _amended(amendment: Amendment) -> str:
    parts = []
    if amendment.arms_added:
        parts.append("arms added: " + ", ".join(arm.name for arm in amendment.arms_added))
    if amendment.seeds_added:
        parts.append("seeds added: " + ", ".join(map(str, amendment.seeds_added)))
    return "; ".join(parts)


def plan_followed(study: FoundStudy, runs: Iterable[FoundRun]) -> list[str]:
    """Sentences on whether the registered plan was followed."""
    done = {(r.record.arm, r.record.seed) for r in runs if r.study is study}
    names = [arm.name for arm in study.record.arms]
    missing = {arm: [s for s in study.record.seeds if (arm, s) not in done] for arm in names}
    more = sorted({arm for arm, _ in done} - set(names)) if names else []
    extra = (
        sorted({seed for _, seed in done} - set(study.record.seeds)) if study.record.seeds else []
    )
    said = [f"Amended: {_amended(each)}." for each in study.record.amendments]
    said += [f"Deviation: {each.rstrip('.')}." for each in study.record.deviations]
    for arm, seeds in missing.items():
        if seeds:
            which = ", ".join(map(str, seeds))
            said.append(f"Missing: {arm}, seed{'s' if len(seeds) > 1 else ''} {which}.")
    if more:
        said.append(f"Not registered: the arm{'s' if len(more) > 1 else ''} {', '.join(more)}.")
    if extra:
        said.append(f"Not registered: seeds {', '.join(map(str, extra))}.")
    planned = f"{len(study.record.arms)} arms x {len(study.record.seeds)} seeds"
    if not said:
        return [f"The registered plan was followed: {planned}, nothing missing, nothing added."]
    return [f"The registered plan was changed or not completed ({planned} in all).", *said]
