"""The processes that talk to W&B, and what is done when they fail."""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bsscale.tracking import mirror

__all__ = ["Mirror"]

log = logging.getLogger(__name__)

# How long the end of the last run waits for the next answer from W&B.
PATIENCE_S = 30.0
# How long the end of this process waits for runs that have not ended.
CLOSE_S = 10.0
# The variables that `wandb agent` sets for the run that it starts.
_AGENT_VARIABLES = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")


class Mirror:
    """All runs of this process as W&B shows them.

    W&B may hang, crash or lose its network: writing to its processes never blocks, and the end of
    the last open run waits for a bounded time. When W&B fails online, the process that is online
    is ended, and another one writes its unfinished runs offline. It writes each of them as a whole,
    from its records, so that nothing is lost or sent twice. When W&B fails offline too, nothing is
    mirrored any more. Either failure is logged once.
    """

    def __init__(self) -> None:
        self._processes: dict[str, _Process] = {}  # by mode
        self._failed: set[str] = set()  # modes
        self._mode: dict[str, str] = {}  # of each open run, by its directory
        self._ending: set[str] = set()
        self._alone = True

    def open(self, directory: Path, mode: str, alone: bool = True) -> None:
        """Mirror the records in `directory`, which holds wandb.json, from now on.

        Parameters
        ----------
        directory
            Of the records.
        mode
            online or offline.
        alone
            Whether it is a single run: it may be the one that a W&B agent has started.
        """
        self._alone = alone
        self._begin(str(directory), mode)

    def finish(self, directory: Path) -> None:
        """The records are complete; wait if no other run is open."""
        ended = str(directory)
        if ended not in self._mode:  # it has failed, and nothing more is answered
            return
        self._ending.add(ended)
        self._send(self._mode[ended], "finish", ended)
        deadline = time.monotonic() + PATIENCE_S
        while self._mode and self._mode.keys() <= self._ending:
            if self.listen(deadline - time.monotonic()):
                deadline = time.monotonic() + PATIENCE_S
            elif time.monotonic() >= deadline:
                for mode in set(self._mode.values()):
                    self._give_up(mode, f"it has not answered for {PATIENCE_S:g} s")
                deadline = time.monotonic() + PATIENCE_S

    def listen(self, timeout_s: float = 0.0) -> bool:
        """Read the answers that arrive within a time; return whether there were any."""
        readers = {process.reader: mode for mode, process in self._processes.items()}
        ready, _, _ = select.select(list(readers), [], [], max(0.0, timeout_s))
        for reader in ready:
            process = self._processes.get(readers[reader])
            if process is None:  # an answer of another process has ended it
                continue
            answers = process.answers()
            if answers is None:
                self._give_up(process.mode, f"its process ended with exit code {process.wait()}")
                continue
            for answer in answers:
                self._note(process.mode, answer)
        return bool(ready)

    def close(self) -> None:
        """End the processes; open runs are marked as failed, and can go on later.

        What they do not tell to have finished soon (W&B hangs, or a signal to all processes of a
        cluster's job has ended it), another one writes offline.
        """
        for directory in self._close():
            self._begin(directory, "offline")
        self._close()

    def _close(self) -> set[str]:
        """End the processes; the directories of the runs that they have not finished."""
        unfinished = set(self._mode)
        for process in self._processes.values():
            unfinished -= process.close()
        self._processes.clear()
        self._mode.clear()
        return unfinished

    def _begin(self, directory: str, mode: str) -> None:
        if mode in self._failed:
            mode = "offline"
        if mode in self._failed:
            return
        self._mode[directory] = mode
        if mode not in self._processes:
            try:
                self._processes[mode] = _Process(mode, self._alone)
            except OSError as error:
                self._give_up(mode, str(error))
                return
        self._send(mode, "open", directory)

    def _send(self, mode: str, command: str, directory: str) -> None:
        try:
            self._processes[mode].send({command: directory})
        except OSError as error:
            self._give_up(mode, str(error))

    def _note(self, mode: str, answer: Mapping[str, Any]) -> None:
        directory = answer["directory"]
        if self._mode.get(directory) != mode:  # it is another process's by now
            return
        if "failed" in answer and mode == "online":
            self._give_up(mode, answer["failed"])
        elif "failed" in answer:
            self._forget(directory)
            log.warning(
                "W&B failed and is off for this run (the records are complete without it): %s",
                answer["failed"],
            )
        elif "finished" in answer:
            self._forget(directory)
            if answer["url"]:
                log.info("W&B  %s", answer["url"])

    def _give_up(self, mode: str, reason: str) -> None:
        """Do without a mode from now on."""
        self._failed.add(mode)
        if (process := self._processes.pop(mode, None)) is not None:
            process.kill()
        runs = [directory for directory, its in self._mode.items() if its == mode]
        if mode == "online" and "offline" not in self._failed:
            log.warning(
                "W&B could not be reached (%s); kept offline: `wandb sync %s/wandb/offline-run-*` "
                "sends it%s",
                reason, runs[0] if runs else "DIRECTORY",
                "" if self._alone else ", and so for every other run",
            )  # fmt: skip
            for directory in runs:
                self._begin(directory, "offline")
                if directory in self._ending and self._mode.get(directory) == "offline":
                    self._send("offline", "finish", directory)
            return
        log.warning("W&B failed and is off (the records are complete without it): %s", reason)
        for directory in runs:
            self._forget(directory)

    def _forget(self, directory: str) -> None:
        self._mode.pop(directory, None)
        self._ending.discard(directory)


class _Process:
    """A process of `bsscale.tracking.mirror` and its pipes.

    Parameters
    ----------
    mode
        online or offline.
    alone
        Whether it may take the name that a W&B agent gives.
    """

    def __init__(self, mode: str, alone: bool) -> None:
        self.mode = mode
        self._buffer = b""
        # WANDB_ERROR_REPORTING: W&B otherwise looks up its error-reporting host even offline.
        environment = {"WANDB_ERROR_REPORTING": "false", **os.environ}
        environment.pop("WANDB_MODE", None)
        if not alone:  # an agent names one run, and all runs of a sweep would take that name
            for name in _AGENT_VARIABLES:
                environment.pop(name, None)
        self._process = subprocess.Popen(
            # -P: the modules beside it are not to be imported by their bare names.
            [sys.executable, "-P", str(mirror.__file__), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C stops the run, which then reports its end
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._writer, self.reader = self._process.stdin, self._process.stdout
        os.set_blocking(self._writer.fileno(), False)

    def send(self, command: Mapping[str, str]) -> None:
        """Write a command; raises OSError if that is not possible now.

        The line is written as a whole or not at all, because it is shorter than a pipe's atomic
        limit.
        """
        os.write(self._writer.fileno(), json.dumps(command).encode() + b"\n")

    def answers(self) -> list[Any] | None:
        """The answers that have arrived; None if the process has ended."""
        received = os.read(self.reader.fileno(), 65536)
        if not received:
            return None
        *lines, self._buffer = (self._buffer + received).split(b"\n")
        return [json.loads(line) for line in lines]

    def wait(self) -> int:
        """Its exit code."""
        return self._process.wait()

    def close(self) -> set[str]:
        """Let it end, and end it if that takes long; the directories of the runs it finished."""
        self._writer.close()
        finished, deadline = set(), time.monotonic() + CLOSE_S
        while (left_s := deadline - time.monotonic()) > 0:
            if not select.select([self.reader], [], [], left_s)[0]:
                break
            if (answers := self.answers()) is None:
                break
            finished |= {answer["directory"] for answer in answers if "finished" in answer}
        self.kill()
        return finished

    def kill(self) -> None:
        """End it. W&B's own process, which it has started, ends when it is gone."""
        self._process.kill()
        self._process.wait()
        self._writer.close()
        self.reader.close()
