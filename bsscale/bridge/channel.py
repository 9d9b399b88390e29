"""reports.jsonl: what rank 0 of a script reports, and what the other ranks are told.

Rank 0 appends one line for each report, with its decision. Every other process of the run waits for
the line of the same report. All of them see the run's directory, as they see their data; no torch
and no network is needed, and a script may as well call `report` on rank 0 alone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from bsscale.errors import ScriptError

__all__ = ["REPORTS", "Following", "Lines", "Reporter", "Teller", "launch_id"]

REPORTS = "reports.jsonl"
POLL_S = 0.02
# What names a start of many processes: all of them have the same values.
_LAUNCH = (
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "MASTER_ADDR",
    "MASTER_PORT",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
)


def launch_id() -> str:
    """A name of this start of a script that bsscale has not started, the same for all ranks."""
    values = [os.environ.get(name, "") for name in _LAUNCH]
    if os.environ.get("WORLD_SIZE") == os.environ.get("LOCAL_WORLD_SIZE"):
        values.append(str(os.getppid()))  # (one host: one process has started all)
    return "/".join(values)


class Teller(Protocol):
    """What takes the reports of a run, and tells how it stands."""

    def report(self, data: Mapping[str, Any]) -> str | None:
        """Take a report; gives the status of a run that it has ended."""
        ...

    def close(self, error: BaseException | None) -> None:
        """The script is at its end; an error has ended it."""
        ...


class Lines:
    """The JSON lines that a growing file has; what is no JSON object is skipped.

    Parameters
    ----------
    path
        The file, which need not exist yet.
    start
        The byte to begin at.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        self.path, self.read_bytes = path, start

    def new(self) -> Iterator[dict[str, Any]]:
        """The objects on the lines that have been completed since."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.read_bytes)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self.read_bytes += len(whole)
        for line in whole.splitlines():
            if not line.lstrip().startswith(b"{"):
                continue
            try:
                data = json.loads(line)
            except ValueError:
                continue
            if isinstance(data, dict):
                yield data


class Reporter:
    """Writes the reports of rank 0.

    Parameters
    ----------
    directory
        The run's.
    start
        The name of this start.
    """

    def __init__(self, directory: Path, start: str) -> None:
        self._path = directory / REPORTS
        directory.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"start": start}) + "\n", encoding="utf-8")

    def send(self, data: Mapping[str, Any], decided: str | None) -> None:
        """One report, and whether it has ended the run."""
        line = json.dumps({"report": dict(data), "decided": decided}) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)


class Following:
    """A process of rank above 0: it reads what rank 0 has decided.

    Parameters
    ----------
    directory, start
        As of the `Reporter`.
    rank
        Of this process.
    limit_s
        How long it waits for rank 0 at most.
    """

    def __init__(self, directory: Path, start: str, rank: int, limit_s: float) -> None:
        self._directory, self._start, self._rank, self._limit_s = directory, start, rank, limit_s
        self._lines = Lines(directory / REPORTS)
        self._decided: dict[int, str | None] = {}
        self._is_ours = False

    def report(self, data: Mapping[str, Any]) -> str | None:
        """What rank 0 has decided after its report at the same samples; waits for it."""
        samples = int(data["samples"])
        begun = time.monotonic()
        while samples not in self._decided:
            for data in self._lines.new():
                self._read(data)
            if not self._is_ours:  # of an earlier start, until rank 0 has replaced it
                self._lines.read_bytes = 0
            if samples in self._decided:
                break
            if time.monotonic() - begun > self._limit_s:
                raise ScriptError(
                    f"rank {self._rank} waits for the report of rank 0 at {samples:,} samples, "
                    f"for {self._limit_s:g} s now",
                    "call run.report at the same samples in every process, or on rank 0 alone",
                )
            time.sleep(POLL_S)
        return self._decided[samples]

    def close(self, error: BaseException | None) -> None:
        """Rank 0 writes."""

    def _read(self, data: Mapping[str, Any]) -> None:
        if "start" in data:
            self._is_ours = data["start"] == self._start
        elif self._is_ours:
            self._decided[int(data["report"]["samples"])] = data["decided"]
