"""The errors that bsscale raises on purpose.

    BsscaleError
    ├── ConfigError        an option, or a combination of options, that cannot be trained
    ├── DataError          a data set that cannot be read, split or encoded
    ├── MetricError        scores or labels that a metric is not defined for   (also a ValueError)
    ├── RecordsError       a run directory that cannot be written or read back
    │   └── FormatVersionError  records of another format version, which stay as they are
    ├── RankError          a data-parallel process that died
    ├── WorkerError        a worker that died, twice, with the runs that it trained
    ├── ScriptError        a training script that failed, hung or reported what cannot be
    └── NotStackableError  a model whose runs have to be trained one by one

Each has a fact with the value, and a remedy. The command line prints them without a
traceback and exits with 1.
"""

from __future__ import annotations

__all__ = [
    "BsscaleError",
    "ConfigError",
    "DataError",
    "FormatVersionError",
    "MetricError",
    "NotStackableError",
    "RankError",
    "RecordsError",
    "ScriptError",
    "WorkerError",
]


class BsscaleError(Exception):
    """Root of the tree: a message a user can act on.

    Parameters
    ----------
    fact
        What is wrong, with the offending value.
    remedy
        What to do about it; shown after the fact.
    """

    def __init__(self, fact: str, remedy: str = "") -> None:
        super().__init__(fact, remedy)
        self.fact = fact
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.fact}\n  -> {self.remedy}" if self.remedy else self.fact


class ConfigError(BsscaleError):
    """An option, or a combination of options, that cannot be trained."""


class DataError(BsscaleError):
    """A data set that cannot be read, split or encoded."""


class MetricError(BsscaleError, ValueError):
    """Scores or labels that a metric is not defined for."""


class RecordsError(BsscaleError):
    """A run directory that cannot be written or read back."""


class FormatVersionError(RecordsError):
    """Records of a format version that is not read, or not continued; they stay as they are."""


class RankError(BsscaleError):
    """A data-parallel process that died; carries that rank's own error."""


class WorkerError(BsscaleError):
    """A process that trained runs of a sweep or a study, and died."""


class ScriptError(BsscaleError):
    """A training script of the user's that failed, hung or reported what cannot be."""


class NotStackableError(BsscaleError):
    """A model that cannot be stacked; bsscale trains its runs one by one and logs the reason."""
