"""What a report is made of: studies, runs and range tests, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bsscale.bridge.curves import Origin
from bsscale.objectives import Criterion
from bsscale.records.evaluation import EvalPoint
from bsscale.records.run_record import RunRecord
from bsscale.report.read_study import FoundStudy

__all__ = ["FoundRangeTest", "FoundRun", "LeftOut", "Sources"]


@dataclass(frozen=True)
class LeftOut:
    """A directory that is not in the comparison, or a run in it that failed, and why."""

    directory: str
    reason: str


@dataclass(frozen=True)
class FoundRun:
    """One finished run.

    Attributes
    ----------
    directory
        Of its records; the file or folder of an imported curve.
    record, evals
        Its record, and its evaluations; empty where they could not be read.
    study
        The study that it is of.
    imported
        The origin of a curve from elsewhere; None for a run with records.
    """

    directory: Path
    record: RunRecord
    evals: Sequence[EvalPoint]
    study: FoundStudy | None = None
    imported: Origin | None = None


@dataclass(frozen=True)
class FoundRangeTest:
    """The result of task=range_test.

    Attributes
    ----------
    reason
        How the suggestion was derived.
    marks
        The suggestion's rates by name, and the lowest edge.
    readings
        For each reading, lowest, median and highest over the seeds.
    curves
        For each seed, its evaluations.
    criterion, loss
        What it was judged by, and the name of the metric that is the validation loss.
    gpus
        At how many it was made; None where that is not recorded.
    """

    directory: Path
    reason: str
    marks: Mapping[str, float]
    readings: Mapping[str, tuple[float, float, float]]
    curves: Mapping[str, Sequence[EvalPoint]]
    criterion: Criterion
    loss: str
    gpus: int | None = None


@dataclass
class Sources:
    """All that was found.

    Attributes
    ----------
    failed, set_aside
        Runs that failed or left no record; and what else is not shown: a curve that cannot be read,
        a directory without runs.
    commands
        What reproduces it, one command line each.
    report_command
        The words of the command that imported curves; empty where there are none.
    """

    runs: list[FoundRun] = field(default_factory=list)
    studies: list[FoundStudy] = field(default_factory=list)
    range_tests: list[FoundRangeTest] = field(default_factory=list)
    failed: list[LeftOut] = field(default_factory=list)
    set_aside: list[LeftOut] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    report_command: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> list[LeftOut]:
        """All that is not shown."""
        return [*self.failed, *self.set_aside]

    def fail(self, directory: Path, reason: str) -> None:
        """Note a run that has no result, and why."""
        self.failed.append(LeftOut(str(directory), reason))

    def leave_out(self, directory: Path, reason: str) -> None:
        """Note why something else is not in the report."""
        self.set_aside.append(LeftOut(str(directory), reason))
