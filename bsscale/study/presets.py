"""The 1-Cycle that a range test at so many GPUs suggests."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bsscale.config import Config
from bsscale.config.files import typed
from bsscale.data import Dataset
from bsscale.errors import ConfigError, RecordsError
from bsscale.records.schema import read_object
from bsscale.schedules.options import OneCycleConfig, RangeTestConfig
from bsscale.study.options import RangeTestOptions, StudyOptions
from bsscale.study.range_test import range_test
from bsscale.terminal.words import counted
from bsscale.workers import Workers

__all__ = ["range_test_of_study", "read_suggestion"]

log = logging.getLogger(__name__)


def read_suggestion(config: Config, study: Path, gpus: int) -> OneCycleConfig | None:
    """The suggestion of a range test; None if the test has not been made yet."""
    result = _where(config, study, gpus) / "range_test.json"
    if not result.exists():
        return None
    remedy = "move that directory away: the same command makes the range test again"
    suggestion = read_object(result, remedy).get("suggestion")
    if not isinstance(suggestion, dict):
        raise RecordsError(f"{result} holds no suggestion", remedy)
    try:
        return typed(OneCycleConfig, suggestion, str(result))
    except ConfigError as error:
        raise RecordsError(f"{result} holds no suggestion: {error.fact}", remedy) from error


def range_test_of_study(
    config: Config,
    dataset: Dataset,
    study: Path,
    gpus: int,
    logs: Mapping[str, Any] | None,
    workers: Workers,
) -> None:
    """Make a range test, unless it is made.

    Parameters
    ----------
    config
        The run that the study is about.
    dataset
        Its data.
    study
        The study's directory.
    gpus
        At how many GPUs.
    logs
        The logging configuration, for processes that a run starts.
    workers
        What trains.
    """
    if read_suggestion(config, study, gpus) is not None:
        return
    directory = _where(config, study, gpus)
    log.info("range test at %s", counted(gpus, "GPU"))
    directory.mkdir(parents=True, exist_ok=True)  # (what an earlier start has trained is kept)
    assert isinstance(config.task, StudyOptions)
    task = RangeTestOptions(
        ramp=RangeTestConfig(mode="exponential"),
        seeds=config.task.range_test_seeds,
        first_seed=config.task.range_test_seed_list()[0],
    )
    tested = replace(
        config, task=task, gpus=gpus, base_lr=None, budget_samples=None, budget_passes=None
    )
    range_test(tested, dataset, directory, logs, workers)


def _where(config: Config, study: Path, gpus: int) -> Path:
    return study / ("range_test" if gpus == config.gpus else f"range_test_gpus_{gpus}")
