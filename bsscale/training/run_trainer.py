"""What trains the runs of a sweep or a study, whatever it is that trains."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from bsscale.data import Dataset
from bsscale.planning.devices import Devices
from bsscale.records.run_record import RunRecord
from bsscale.training.spec import RunSpec

__all__ = ["Result", "RunTrainer"]

Result: TypeAlias = RunRecord | Exception


class RunTrainer(Protocol):
    """Trains runs; to be used in a ``with`` statement.

    Attributes
    ----------
    devices
        Of this machine.
    step
        What the display of the runs begins with, such as "study 4/6"; whoever trains sets it.
    """

    devices: Devices
    step: str

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def train(
        self,
        specs: Sequence[RunSpec],
        datasets: Sequence[Dataset],
        finished: Collection[int] = (),
    ) -> dict[int, Result]:
        """Train runs, or what is left of them, and write their records.

        Parameters
        ----------
        specs
            The runs.
        datasets
            The data of each.
        finished
            Numbers of runs that are left alone.

        Returns
        -------
        For each other run its record, or the error that ended it and it alone.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            If this process is told to end, after each run that has begun is left so that a later
            start continues it.
        """
        ...
