"""W&B as a mirror of the records: everything works without it, and training does not wait."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import logging
import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bsscale.config import TrackerOptions
from bsscale.files.replace import write_json
from bsscale.objectives import Criterion
from bsscale.records.evaluation import EvalPoint
from bsscale.tracking import mirror
from bsscale.tracking.options import WandbOptions

__all__ = ["Mirror", "NoTracker", "WandbTracker", "make_tracker", "mirror_comparison"]

log = logging.getLogger(__name__)

# How long the end of the last run waits for the next answer from W&B.
PATIENCE_S = 30.0
# The variables that `wandb agent` sets for the run that it starts.
_AGENT_VARIABLES = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")
# W&B's own limits, in characters.
LONGEST_GROUP, LONGEST_TAG = 128, 64


class NoTracker:
    """Mirrors nothing."""

    def on_eval(self, point: EvalPoint) -> None:
        """Ignore an evaluation."""

    def finish(self) -> None:
        """Ignore the end."""


class Mirror:
    """The process that talks to W&B (`bsscale.tracking.mirror`), and what it has answered.

    W&B may hang, crash or lose its network in it: writing to it never blocks, and the end of the
    last open run waits for a bounded time. A failure is logged once.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._open: set[str] = set()
        self._ending: set[str] = set()
        self._buffer = b""
        self._off = False

    def open(self, directory: Path, alone: bool = True) -> None:
        """Mirror the records in `directory`, which holds wandb.json, from now on.

        Parameters
        ----------
        directory
            Of the records.
        alone
            Whether it is a single run: it may be the one that a W&B agent has started.
        """
        if self._process is None and not self._off:
            self._start(alone)
        self._open.add(str(directory))
        self._send({"open": str(directory)})

    def finish(self, directory: Path) -> None:
        """The records are complete; wait if no other run is open."""
        if str(directory) not in self._open:  # it has failed, and nothing more is answered
            return
        self._open.discard(str(directory))
        self._ending.add(str(directory))
        self._send({"finish": str(directory)})
        if self._open:
            return
        deadline = time.monotonic() + PATIENCE_S
        while self._ending and not self._off:
            if self.listen(deadline - time.monotonic()):
                deadline = time.monotonic() + PATIENCE_S
            elif time.monotonic() >= deadline:
                self._give_up(f"it has not answered for {PATIENCE_S:g} s")

    def listen(self, timeout_s: float = 0.0) -> bool:
        """Read the answers that arrive within a time; return whether there were any."""
        if self._process is None or self._off:
            return False
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, timeout_s))
        if not ready:
            return False
        received = os.read(self._process.stdout.fileno(), 65536)
        if not received:
            self._give_up(f"its process ended with exit code {self._process.wait()}")
            return True
        *lines, self._buffer = (self._buffer + received).split(b"\n")
        for line in lines:
            self._note(json.loads(line))
        return True

    def close(self) -> None:
        """End the process. If it does not end soon, return; it ends later by itself."""
        if self._process is None:
            return
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        if not self._off:
            self._off = True
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        self._process.stdout.close()

    def _start(self, alone: bool) -> None:
        # WANDB_ERROR_REPORTING: W&B otherwise looks up its error-reporting host even offline.
        environment = {"WANDB_ERROR_REPORTING": "false", **os.environ}
        environment.pop("WANDB_MODE", None)  # (it is in wandb.json)
        if not alone:  # an agent names one run, and all runs of a sweep would take that name
            for name in _AGENT_VARIABLES:
                environment.pop(name, None)
        try:
            self._process = subprocess.Popen(
                # -P: the modules beside it are not to be imported by their bare names.
                [sys.executable, "-P", str(mirror.__file__)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # Ctrl-C stops the run, which then reports its end
            )
        except OSError as error:
            self._give_up(str(error))
            return
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)

    def _send(self, command: Mapping[str, str]) -> None:
        if self._off or self._process is None:
            return
        assert self._process.stdin is not None
        try:
            # The line is written as a whole or not at all, because it is shorter than a pipe's
            # atomic limit.
            os.write(self._process.stdin.fileno(), json.dumps(command).encode() + b"\n")
        except OSError as error:
            self._give_up(str(error))

    def _note(self, answer: Mapping[str, Any]) -> None:
        directory = answer["directory"]
        self._ending.discard(directory)
        if "failed" in answer:
            self._open.discard(directory)
            log.warning(
                "W&B failed and is off for this run (the records are complete without it): %s",
                answer["failed"],
            )
            return
        if answer["note"]:
            log.warning("%s", answer["note"])
        if answer["url"]:
            log.info("W&B  %s", answer["url"])

    def _give_up(self, reason: str) -> None:
        log.warning("W&B failed and is off (the records are complete without it): %s", reason)
        self._off = True
        self.close()


class WandbTracker:
    """One W&B run, with samples as its x axis, made from the records in a directory.

    Parameters
    ----------
    config
        Project and mode.
    directory
        Of the records. wandb.json is written there: it keeps the W&B run's id, so that a run
        that is started again continues it. W&B's own files are in wandb/.
    name, group, job_type, tags
        As W&B shows them; `group` is a directory.
    run_config
        The run's resolved configuration, plain containers.
    criterion
        The metric that the run is judged by; None for a comparison.
    comparison
        The JSON file that a comparison run shows, instead of evaluations.
    process
        What talks to W&B.
    """

    def __init__(
        self,
        config: WandbOptions,
        directory: Path,
        *,
        name: str,
        group: str | None,
        job_type: str,
        tags: Sequence[str] = (),
        run_config: Mapping[str, Any] | None = None,
        criterion: Criterion | None = None,
        comparison: Path | None = None,
        process: Mirror | None = None,
    ) -> None:
        self._directory = directory.resolve()
        self._process = shared_mirror() if process is None else process
        about = {
            "id": _known_id(self._directory)
            or (group is None and _agents_id())
            or secrets.token_hex(5),
            "resumed": _has_evaluations(self._directory),
            "project": config.project,
            "mode": config.mode_now,
            "name": name,
            "group": None if group is None else _group_name(Path(group)),
            "job_type": _limited(job_type),
            "tags": [_limited(tag) for tag in tags],
            "config": dict(run_config or {}),
            "metric": None if criterion is None else criterion.name,
            "direction": None if criterion is None else criterion.direction,
            "comparison": None if comparison is None else str(comparison.resolve()),
        }
        try:
            write_json(self._directory / "wandb.json", about)
        except OSError as error:
            log.warning("W&B is off for this run: %s", error)
            self._process = Mirror()  # never started
            return
        self._process.open(self._directory, alone=group is None)

    def on_eval(self, point: EvalPoint) -> None:
        """Log W&B's failure, if there was one.

        The other process reads the evaluation from evals.jsonl.
        """
        self._process.listen()

    def finish(self) -> None:
        """The records are complete, run.json included."""
        self._process.finish(self._directory)


def make_tracker(
    config: TrackerOptions,
    directory: Path,
    *,
    name: str,
    group: str | None,
    job_type: str,
    tags: Sequence[str] = (),
    run_config: Mapping[str, Any] | None = None,
    criterion: Criterion | None = None,
) -> NoTracker | WandbTracker:
    """The tracker of a configuration; see `WandbTracker` for the parameters."""
    if not isinstance(config, WandbOptions) or config.mode_now == "disabled":
        return NoTracker()
    return WandbTracker(
        config,
        directory,
        name=name,
        group=group,
        job_type=job_type,
        tags=tags,
        run_config=run_config,
        criterion=criterion,
    )


def mirror_comparison(config: TrackerOptions, directory: Path, comparison: Path) -> None:
    """Show a comparison in one W&B run, beside those that it compares.

    Parameters
    ----------
    config
        As of the runs.
    directory
        Of the study or multirun, which is the runs' group too.
    comparison
        comparison.json, or report.json.
    """
    if isinstance(config, WandbOptions) and config.mode_now != "disabled":
        WandbTracker(
            config,
            directory,
            name="comparison",
            group=str(directory),
            job_type="comparison",
            comparison=comparison,
        ).finish()


@functools.cache
def shared_mirror() -> Mirror:
    """The one of this process; it ends with it."""
    made = Mirror()
    atexit.register(made.close)
    return made


def _agents_id() -> str | None:
    """The id that `wandb agent` has given the run that it has started."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def _known_id(directory: Path) -> str | None:
    """The W&B id of an earlier start of the run, if there was one."""
    try:
        known = json.loads((directory / "wandb.json").read_text(encoding="utf-8"))["id"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if isinstance(known, str) else None


def _has_evaluations(directory: Path) -> bool:
    try:
        return (directory / "evals.jsonl").stat().st_size > 0
    except OSError:
        return False


def _group_name(directory: Path) -> str:
    """The last parts of a group's directory, such as multirun/DATE/TIME."""
    return "/".join(directory.resolve().parts[-3:])[-LONGEST_GROUP:]


def _limited(text: str) -> str:
    """At most what W&B takes; two long texts stay different."""
    if len(text) <= LONGEST_TAG:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: LONGEST_TAG - 9]}-{digest}"
