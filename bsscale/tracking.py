"""W&B as a mirror of the records: everything works without it, and nothing stops if it fails."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from bsscale.config import TrackerConfig, WandbConfig
from bsscale.records import EvalPoint, RunRecord

if TYPE_CHECKING:
    from wandb import Run

__all__ = ["NoTracker", "WandbTracker", "make_tracker"]

log = logging.getLogger(__name__)
P = ParamSpec("P")


class NoTracker:
    """Mirrors nothing."""

    def on_step(self, step: int) -> None:
        """Ignore an update."""

    def on_eval(self, point: EvalPoint) -> None:
        """Ignore an evaluation."""

    def finish(self, record: RunRecord) -> None:
        """Ignore the end."""

    def close(self, summary: Mapping[str, Any], failed: bool = False) -> None:
        """Ignore the end."""


class WandbTracker:
    """One W&B run, with samples as its x axis. A failure is said once and training goes on.

    Parameters
    ----------
    config
        Project and mode.
    directory
        Where W&B keeps its files.
    name, group, job_type, tags
        As W&B shows them.
    run_config
        The run's resolved configuration, plain containers.
    """

    def __init__(
        self,
        config: WandbConfig,
        directory: Path,
        *,
        name: str,
        group: str | None,
        job_type: str,
        tags: Sequence[str] = (),
        run_config: Mapping[str, Any] | None = None,
    ) -> None:
        self._run: Run | None = None
        self._failed = False
        self._guard(self._start, config, directory, name, group, job_type, tags, run_config)

    def on_step(self, step: int) -> None:
        """Updates are not logged."""

    def on_eval(self, point: EvalPoint) -> None:
        """Log one evaluation."""
        data = {key: value for key, value in asdict(point).items() if value is not None}
        self.log(data)

    def log(self, data: Mapping[str, Any]) -> None:
        """Log one row; ``samples`` in it is the x axis."""
        if self._run is not None:
            self._guard(self._run.log, dict(data))

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log a table, one row a mapping of the same keys."""
        if self._run is not None and rows:
            self._guard(self._log_table, self._run, name, rows)

    def finish(self, record: RunRecord) -> None:
        """Put the result into the summary and finish the W&B run."""
        keys = (
            "status",
            "reason",
            "target",
            "samples_to_target",
            "samples_to_target_interval",
            "best_auc",
            "final_auc",
            "test_auc",
            "samples_seen",
            "samples_per_s",
        )
        self.close({key: getattr(record, key) for key in keys}, failed=record.status == "failed")

    def close(self, summary: Mapping[str, Any], failed: bool = False) -> None:
        """Write the summary and finish."""
        if self._run is not None:
            self._guard(self._finish, self._run, summary, failed)
            self._run = None

    def _start(
        self,
        config: WandbConfig,
        directory: Path,
        name: str,
        group: str | None,
        job_type: str,
        tags: Sequence[str],
        run_config: Mapping[str, Any] | None,
    ) -> None:
        # Set before the import: W&B otherwise looks up its error-reporting host even offline.
        if config.mode is not None:
            os.environ["WANDB_MODE"] = config.mode
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._run = wandb.init(
            project=config.project,
            dir=str(directory),
            name=name,
            group=group,
            job_type=job_type,
            tags=list(tags),
            config=dict(run_config or {}),
            # An unreachable server must not hold training up for W&B's own 90 s.
            # Runs of one stack are open side by side.
            settings=wandb.Settings(
                console="off", silent=True, init_timeout=20, reinit="create_new"
            ),
        )
        self._run.define_metric("samples")
        self._run.define_metric("*", step_metric="samples")

    @staticmethod
    def _log_table(run: Run, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        import wandb

        columns: list[str | int] = list(rows[0])
        data = [[row[str(column)] for column in columns] for row in rows]
        run.log({name: wandb.Table(columns=columns, data=data)})

    @staticmethod
    def _finish(run: Run, summary: Mapping[str, Any], failed: bool) -> None:
        run.summary.update(dict(summary))
        run.finish(exit_code=1 if failed else 0)

    def _guard(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        if self._failed:
            return
        try:
            function(*args, **kwargs)
        except Exception as error:
            self._failed = True
            log.warning(
                "W&B failed and is off for this run (the records are complete without it): %s",
                error,
            )


def make_tracker(
    config: TrackerConfig,
    directory: Path,
    *,
    name: str,
    group: str | None,
    job_type: str,
    tags: Sequence[str] = (),
    run_config: Mapping[str, Any] | None = None,
) -> NoTracker | WandbTracker:
    """The tracker of a configuration; see `WandbTracker` for the parameters."""
    if not isinstance(config, WandbConfig) or os.environ.get("WANDB_MODE") == "disabled":
        return NoTracker()
    return WandbTracker(
        config,
        directory,
        name=name,
        group=group,
        job_type=job_type,
        tags=tags,
        run_config=run_config,
    )
