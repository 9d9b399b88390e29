"""How far a preparation is: a bar on a terminal, a line in the log now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Never

from tqdm import tqdm

__all__ = ["Steps"]

log = logging.getLogger(__name__)

# A preparation that takes less is not shown.
SECONDS_BEFORE = 3.0
SECONDS_BETWEEN_LINES = 10.0


class Steps:
    """Counts what is done of a preparation.

    Parameters
    ----------
    what
        What is done, such as "reading clicks.csv".
    unit
        What is counted, in the plural.
    total
        How many there are; None: it is not known.
    """

    def __init__(self, what: str, unit: str, total: int | None = None) -> None:
        self._what, self._unit, self._total = what, unit, total
        self._done, self._shown = 0, time.monotonic()
        self._bar: tqdm[Never] | None = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                desc=what,
                unit=f" {unit}",
                total=total,
                unit_scale=True,
                dynamic_ncols=True,
                leave=False,
                delay=SECONDS_BEFORE,
            )

    def __enter__(self) -> Steps:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() - self._shown > SECONDS_BETWEEN_LINES:
            self._shown = time.monotonic()
            of = "" if self._total is None else f" of {self._total:,}"
            log.info("%s: %s%s %s", self._what, f"{self._done:,}", of, self._unit)
