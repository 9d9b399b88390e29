"""A training script as a group of processes: its start, what it says, and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bsscale.bridge.channel import REPORTS, Lines
from bsscale.errors import ScriptError
from bsscale.files.replace import write_json

__all__ = ["ScriptProcess", "earlier_reports", "end_earlier"]

# What is kept of a script in its run's directory.
OUTPUT, ERRORS, PROCESS = "stdout.log", "stderr.log", "process.json"
# Between SIGTERM and SIGKILL.
END_S = 10.0
POLL_S = 0.02
# How much of a message on stderr goes into an error.
LAST_CHARACTERS = 200


class ScriptProcess:
    """A script that has been started for a run.

    Parameters
    ----------
    words
        The command.
    environment
        Variables besides those of this process.
    directory
        The run's; what the script prints is kept there.

    Raises
    ------
    ScriptError
        If the command cannot be started.
    """

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], directory: Path
    ) -> None:
        self._directory = directory
        (directory / REPORTS).unlink(missing_ok=True)
        output, errors = directory / OUTPUT, directory / ERRORS
        with output.open("ab") as out, errors.open("ab") as err:
            self._printed, printed_before = Lines(output, out.tell()), out.tell()
            self._errors_before = err.tell()
            try:
                self._process = subprocess.Popen(
                    list(words),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                    start_new_session=True,  # (its group is ended as a whole)
                )
            except OSError as error:
                raise ScriptError(
                    f"the command {words[0]} cannot be started: {error.strerror or error}",
                    "check trainer.command; it is started without a shell, in the directory where "
                    "bsscale was started",
                ) from error
        self._reported = Lines(directory / REPORTS)
        self._sizes: tuple[int, ...] = ()
        self._heard_s = time.monotonic()
        self._told_to_end_s: float | None = None
        described = _described(self._process.pid)
        write_json(directory / PROCESS, {**described, "printed_before": printed_before})

    @property
    def uses_bridge(self) -> bool:
        """Whether the script has joined its run by `bsscale.bridge`."""
        return self._reported.path.exists()

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def silent_s(self) -> float:
        """Seconds since it has last printed or reported anything."""
        return time.monotonic() - self._heard_s

    def reports(self) -> list[dict[str, Any]]:
        """What it has reported since: by the bridge, or by lines of JSON that it prints."""
        sizes = tuple(map(self._size, (OUTPUT, ERRORS, REPORTS)))
        if sizes == self._sizes:
            return []
        self._sizes, self._heard_s = sizes, time.monotonic()
        return _reports(self._reported if self.uses_bridge else self._printed)

    def last_words(self) -> str:
        """The last line that this start has written to stderr; empty if there is none."""
        try:
            with (self._directory / ERRORS).open("rb") as file:
                file.seek(self._errors_before)
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][-LAST_CHARACTERS:] if lines else ""

    def tell_to_end(self) -> None:
        """Send SIGTERM to all its processes, once."""
        if self._told_to_end_s is None:
            self._told_to_end_s = time.monotonic()
            _signal(self._process.pid, signal.SIGTERM)

    def has_ended(self) -> bool:
        """Whether all its processes have; those that do not obey SIGTERM are killed."""
        late = self._told_to_end_s is not None and (time.monotonic() - self._told_to_end_s > END_S)
        if late:
            _signal(self._process.pid, signal.SIGKILL)
        if self._process.poll() is None:
            return False
        if _group_lives(self._process.pid):  # its children, which it has left behind
            self.tell_to_end()
            return False
        return True

    def end(self) -> None:
        """End all its processes, and wait until they have."""
        self.tell_to_end()
        while not self.has_ended():
            time.sleep(POLL_S)

    def _size(self, name: str) -> int:
        try:
            return (self._directory / name).stat().st_size
        except OSError:
            return 0


def earlier_reports(directory: Path) -> list[dict[str, Any]]:
    """What the script of an earlier start has reported, which bsscale may not have recorded."""
    if (directory / REPORTS).exists():
        return _reports(Lines(directory / REPORTS))
    before = _earlier(directory).get("printed_before")
    return _reports(Lines(directory / OUTPUT, before)) if isinstance(before, int) else []


def end_earlier(directory: Path) -> None:
    """End the script of an earlier start that was killed, and whose script still runs."""
    then = _earlier(directory)
    pid = then.get("pid")
    if not isinstance(pid, int) or then.get("began") is None:
        return
    if _described(pid).items() <= then.items():
        _signal(pid, signal.SIGTERM)
        told_s = time.monotonic()
        while _group_lives(pid):
            if time.monotonic() - told_s > END_S:
                _signal(pid, signal.SIGKILL)
            time.sleep(POLL_S)


def _earlier(directory: Path) -> Mapping[str, Any]:
    """What is known of the process of an earlier start; empty for nothing."""
    try:
        then = json.loads((directory / PROCESS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return then if isinstance(then, dict) else {}


def _reports(lines: Lines) -> list[dict[str, Any]]:
    """The reports on some lines: the bridge's, or a script's own."""
    found = [data.get("report", data) for data in lines.new()]
    return [data for data in found if isinstance(data, dict) and "samples" in data]


def _described(pid: int) -> dict[str, Any]:
    """A process by its number, and by what tells it from a later one of that number."""
    began = None
    with suppress(OSError, IndexError):  # (Linux)
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        began = int(stat.rpartition(")")[2].split()[19])
    return {"host": socket.gethostname(), "pid": pid, "began": began}


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _group_lives(group: int) -> bool:
    """Whether a process of the group runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False
    return True
