"""The jobs of a cluster: one live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bsscale.terminal.words import counted

__all__ = ["JobLine", "JobTable"]

log = logging.getLogger(__name__)

# Elsewhere than on a terminal, how often the progress is said although no job has changed.
SECONDS_BETWEEN_LINES = 300.0
# Lines that the table leaves free on the terminal.
_MARGIN = 6


@dataclass(frozen=True)
class JobLine:
    """A job as it is shown.

    Attributes
    ----------
    name
        Its number and its options.
    job_id
        As the cluster calls it.
    state
        pending, running, queued again, ended or failed.
    why
        Why it waits, or where it runs.
    progress
        How far it is; empty where that is not known.
    """

    name: str
    job_id: str
    state: str
    why: str = ""
    progress: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("ended", "failed")


class JobTable:
    """Shows how the jobs of a sweep are.

    Parameters
    ----------
    logs
        Where the logs of the jobs are.
    """

    def __init__(self, logs: str) -> None:
        self._logs = logs
        self._before: dict[str, tuple[str, str]] = {}
        self._last_line_s = time.monotonic()
        self._console = Console(file=sys.stderr)
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def show(self, lines: Sequence[JobLine]) -> None:
        """Show the jobs as they are now."""
        if self._live is not None:
            self._live.update(self._table(lines), refresh=True)
            return
        changed = [line for line in lines if self._before.get(line.job_id) != _said(line)]
        for line in changed:
            self._before[line.job_id] = _said(line)
            words = (line.name, f"job {line.job_id}", line.state, line.why)
            log.info("%s", "  ".join(filter(None, words)))
        if changed:
            self._last_line_s = time.monotonic()
        elif time.monotonic() - self._last_line_s >= SECONDS_BETWEEN_LINES:
            self._last_line_s = time.monotonic()
            running = [f"{line.name} {line.progress}" for line in lines if line.progress]
            log.info("%s", "  ".join([summary(lines), *running[:3]]))

    def close(self) -> None:
        """Remove the table."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _table(self, lines: Sequence[JobLine]) -> Group:
        room = max(1, self._console.height - _MARGIN)
        shown = list(lines)
        if len(shown) > room:  # those that are over first give way, then those that wait
            shown.sort(key=lambda line: (line.over, line.state == "pending"))
            shown = shown[:room]
        table = Table(box=None, pad_edge=False)
        for name in ("job", "id", "state", "where or why", "progress"):
            table.add_column(name, overflow="ellipsis", no_wrap=True)
        for line in shown:
            cells = (line.name, line.job_id, line.state, line.why, line.progress)
            table.add_row(*map(Text, cells))
        return Group(Text(summary(lines)), table, Text(f"logs: {self._logs}"))


def summary(lines: Sequence[JobLine]) -> str:
    """How many jobs are in which state."""
    counts = Counter(line.state for line in lines)
    words = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return f"{counted(len(lines), 'job')}: {words}"


def _said(line: JobLine) -> tuple[str, str]:
    return line.state, line.why
