"""The seal of a study: what is settled and trained goes into its chain, and into study.json."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bsscale.errors import RecordsError
from bsscale.files.replace import plain
from bsscale.records.chain import NAMES, Kind, chain_faults, digest, extended
from bsscale.records.registered_runs import missing_runs, run_digest, run_faults
from bsscale.records.schema import read_object
from bsscale.records.study_record import StudyRecord, write_study
from bsscale.study.specs import Specs

__all__ = ["Seal", "refuse_changed"]

log = logging.getLogger(__name__)


class Seal:
    """Extends the chain of a study.

    Parameters
    ----------
    directory
        The study's.
    study
        Its record; it is written after each entry.
    specs
        What makes the specifications of its runs, which name the chain's head.

    Attributes
    ----------
    deviations
        Decisions that the records do not give any more, a sentence each.
    """

    def __init__(self, directory: Path, study: StudyRecord, specs: Specs) -> None:
        self._directory, self._study, self._specs = directory, study, specs
        self._first = {name: each for _, name, each in _found(study)}
        self.deviations: list[str] = []
        specs.study, specs.study_head = study.hash, study.head

    def settle(self, decisions: Mapping[str, Any]) -> Mapping[str, Any]:
        """Settle decisions, unless they are; what was settled first holds, and is returned.

        A decision that an earlier start has settled is made again from the records. If the two
        differ, the first one holds for all runs, and the difference is a deviation.
        """
        decisions = plain(decisions)
        known = self._study.settled
        for name in sorted(decisions.keys() & known.keys()):
            if decisions[name] != known[name]:
                self.deviations.append(
                    f"{name} was settled as {known[name]}, and the records now give "
                    f"{decisions[name]}"
                )
        self.add("settled", {k: v for k, v in decisions.items() if k not in known})
        return {name: self._study.settled[name] for name in decisions}

    def trained(self, directories: Iterable[Path]) -> None:
        """Add runs that have ended, unless the chain has them."""
        known, found = self._study.trained, {}
        for directory in directories:
            name = directory.relative_to(self._directory).as_posix()
            if known.get(name) != (digest := run_digest(directory)):
                found[name] = digest
        self.add("trained", found)

    def looked(self, look: dict[str, Any]) -> dict[str, Any]:
        """Add a look, unless it was made: the first one at the same arms and seeds holds."""
        same = (look["seeds"], look["arms"])
        for made in self._study.looked:
            if (made.get("seeds"), made.get("arms")) == same:
                if made != look:
                    self.deviations.append(
                        f"the look at {look['seeds']} seeds left {made.get('undecided')} open, and "
                        f"the records now leave {look['undecided']}"
                    )
                return made
        self.add("looked", look)
        return look

    def add(self, kind: Kind, content: Mapping[str, Any]) -> None:
        """Extend the chain by an entry, if it has a content, and write study.json."""
        if content:
            self._study.chain.append(extended(self._study.chain, kind, content))
            self._specs.study_head = self._study.head
            self.write()

    def write(self) -> None:
        """Write study.json; what is settled stays as it is."""
        study, settled = self._study, self._study.settled
        for name in {"base_lr", "target", "budget_samples"} & settled.keys():
            setattr(study, name, settled[name])
        kept: dict[str, list[Any]] = {field: [] for field in NAMES}
        for field, name, each in _found(study):
            same = settled.get(name) in (None, digest(msgspec.to_builtins(each)))
            kept[field].append(each if same else self._first[name])
        for field, found in kept.items():
            setattr(study, field, found)
        write_study(self._directory, study)


def _found(study: StudyRecord) -> Iterator[tuple[str, str, Any]]:
    """What searches and range tests have found: field, name in the chain, and record of each."""
    for field, name_of in NAMES.items():
        for each in getattr(study, field):
            yield field, name_of(msgspec.to_builtins(each)), each


def refuse_changed(directory: Path, study: StudyRecord) -> None:
    """Raise RecordsError if study.json or a run is not what the chain says.

    A run whose records are gone is trained again; a warning names it.
    """
    remedy = "restore the records from a copy, or give another task.directory"
    again = "; if you move that directory away, the run is trained again, and the report says so"
    if faults := chain_faults(read_object(directory / "study.json", remedy)):
        raise RecordsError(
            f"{directory / 'study.json'} is not as the study left it: {'; '.join(faults)}", remedy
        )
    if wrong := run_faults(directory, study):
        listed = "; ".join(f"{path}: {fault}" for path, fault in wrong.items())
        raise RecordsError(
            f"{len(wrong)} of the runs in {directory} are not those of the study: {listed}",
            remedy + again,
        )
    for path in missing_runs(directory, study):
        log.warning("warning: %s was trained, and its records are gone: it is trained again", path)
