"""A study that a report is about: its record, and what does not agree with its chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bsscale.records.chain import chain_faults
from bsscale.records.registered_runs import missing_runs, run_faults, target_faults
from bsscale.records.schema import read_object
from bsscale.records.study_record import StudyRecord, read_study

__all__ = ["FoundStudy", "find_study"]


@dataclass(frozen=True)
class FoundStudy:
    """A study, and where it lies.

    Attributes
    ----------
    faults
        What in its study.json does not agree with the chain, a clause each.
    wrong_runs
        What in a run does not agree with the study, by the run's path in the directory.
    missing
        The paths of the runs that have ended and whose records are gone.
    """

    directory: Path
    record: StudyRecord
    faults: Sequence[str] = ()
    wrong_runs: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()

    def fault_of(self, directory: Path) -> str | None:
        """What in the run in a directory does not agree with the study; None if it agrees."""
        try:
            name = directory.relative_to(self.directory).as_posix()
        except ValueError:
            return None
        return self.wrong_runs.get(name)


def find_study(directory: Path) -> FoundStudy:
    """Read the study in a directory, and compare it with its chain and its runs.

    Raises
    ------
    RecordsError
        If study.json cannot be read.
    """
    record = read_study(directory)
    if not record.chain:  # of an earlier version: there is nothing to compare it with
        return FoundStudy(directory, record)
    faults = [
        *chain_faults(read_object(directory / "study.json", "leave the study out")),
        *target_faults(directory, record),
    ]
    return FoundStudy(
        directory, record, faults, run_faults(directory, record), missing_runs(directory, record)
    )
