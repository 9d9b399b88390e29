"""The end of a multirun: one table, one comparison.json, one W&B run; or one overlaid figure."""

from __future__ import annotations

import logging
from pathlib import Path

from bsscale.config import TrackerConfig
from bsscale.records import write_json
from bsscale.report import arms_table, compare
from bsscale.tracking import mirror_comparison

__all__ = ["compare_jobs", "overlay_jobs"]

log = logging.getLogger(__name__)


def compare_jobs(directory: Path, tracker_config: TrackerConfig) -> bool:
    """Compare the jobs of a multirun.

    Parameters
    ----------
    directory
        The multirun's directory; each job has its own directory in it.
    tracker_config
        Where to mirror the comparison.

    Returns
    -------
    Whether every job trained.
    """
    comparison = compare(_jobs(directory))
    write_json(directory / "comparison.json", comparison.as_dict())
    mirror_comparison(tracker_config, directory, directory / "comparison.json")
    if comparison.arms:
        log.info("\n%s\n", arms_table(comparison).text())
    for failure in comparison.failed:
        log.error("failed: %s: %s", failure.directory, failure.reason)
    log.info("comparison  %s", directory / "comparison.json")
    return not comparison.failed


def overlay_jobs(directory: Path) -> None:
    """Draw the schedules of a multirun of task=show_schedule over each other."""
    from bsscale.show_schedule import overlay

    overlay(_jobs(directory), directory)


def _jobs(directory: Path) -> list[Path]:
    """The directories of a multirun's jobs, in order: 0, 1, ..., 9, 10."""
    return sorted(
        (path.parent for path in directory.glob("*/.hydra")),
        key=lambda path: (len(path.name), path.name),
    )
