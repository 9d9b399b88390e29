"""The 1-Cycle that a range test at so many GPUs suggests."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bsscale.config import Config
from bsscale.config.files import typed
from bsscale.data import Dataset
from bsscale.errors import ConfigError, RecordsError
from bsscale.files.replace import plain
from bsscale.records.schema import read_object
from bsscale.records.study_record import PresetRecord
from bsscale.schedules.options import OneCycleConfig, RangeTestConfig
from bsscale.schedules.options.given import given_options
from bsscale.study.options import RangeTestOptions, StudyOptions
from bsscale.study.range_test import range_test
from bsscale.terminal.words import counted
from bsscale.training.run_trainer import RunTrainer

__all__ = ["Preset", "range_test_of_study", "read_preset"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preset:
    """What a range test says.

    Attributes
    ----------
    suggestion
        The cycle; None: its curves carry none.
    reason
        How it follows from the curves, or why there is none.
    """

    suggestion: OneCycleConfig | None
    reason: str

    def record(self, gpus: int) -> PresetRecord:
        """For study.json."""
        given = None if self.suggestion is None else plain(given_options(self.suggestion))
        return PresetRecord(gpus=gpus, suggestion=given, reason=self.reason)


def read_preset(config: Config, study: Path, gpus: int) -> Preset | None:
    """What a range test says; None if the test has not been made yet."""
    result = _where(config, study, gpus) / "range_test.json"
    if not result.exists():
        return None
    remedy = "move that directory away: the same command makes the range test again"
    data = read_object(result, remedy)
    suggestion, reason = data.get("suggestion"), data.get("reason")
    if suggestion is None and isinstance(reason, str) and "suggestion" in data:
        return Preset(None, reason)
    if not isinstance(suggestion, dict):
        raise RecordsError(f"{result} holds no suggestion", remedy)
    try:
        cycle = typed(OneCycleConfig, suggestion, str(result))
    except ConfigError as error:
        raise RecordsError(f"{result} holds no suggestion: {error.fact}", remedy) from error
    return Preset(cycle, reason if isinstance(reason, str) else "")


def range_test_of_study(
    config: Config,
    dataset: Dataset,
    study: Path,
    gpus: int,
    logs: Mapping[str, Any] | None,
    workers: RunTrainer,
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
    if read_preset(config, study, gpus) is not None:
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
