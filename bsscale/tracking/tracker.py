"""W&B as a mirror of the records: everything works without it, and training does not wait."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bsscale.config import TrackerOptions
from bsscale.files.replace import write_json
from bsscale.objectives import Criterion
from bsscale.records.evaluation import EvalPoint
from bsscale.tracking.options import WandbOptions
from bsscale.tracking.process import Mirror

__all__ = ["NoTracker", "WandbTracker", "make_tracker", "mirror_comparison"]

log = logging.getLogger(__name__)

# W&B's own limits, in characters.
LONGEST_GROUP, LONGEST_TAG = 128, 64


class NoTracker:
    """Mirrors nothing."""

    def on_eval(self, point: EvalPoint) -> None:
        """Ignore an evaluation."""

    def finish(self) -> None:
        """Ignore the end."""


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
            # (W&B takes an agent's id, whatever else it is given)
            "id": (group is None and _agents_id())
            or _known_id(self._directory)
            or secrets.token_hex(5),
            "resumed": _has_evaluations(self._directory),
            "project": config.project,
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
        self._process.open(self._directory, config.mode_now, alone=group is None)

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
