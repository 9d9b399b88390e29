"""The 1-Cycle that a range test at so many GPUs suggests."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bsscale.config import Config, RangeTestTask, StudyTask
from bsscale.data import Dataset
from bsscale.range_test import range_test
from bsscale.schedule_config import OneCycleConfig, RangeTestConfig

__all__ = ["range_test_of_study", "suggested"]

log = logging.getLogger(__name__)


def suggested(config: Config, study: Path, gpus: int) -> OneCycleConfig | None:
    """What a range test has suggested; None: it is not made yet."""
    result = _where(config, study, gpus) / "range_test.json"
    if not result.exists():
        return None
    return OneCycleConfig(**json.loads(result.read_text(encoding="utf-8"))["suggestion"])


def range_test_of_study(
    config: Config, dataset: Dataset, study: Path, gpus: int, logs: Mapping[str, Any] | None
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
    """
    if suggested(config, study, gpus) is not None:
        return
    directory = _where(config, study, gpus)
    log.info("range test at %d GPUs", gpus)
    if directory.exists():  # an earlier start was interrupted in it
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    assert isinstance(config.task, StudyTask)
    task = RangeTestTask(
        ramp=RangeTestConfig(mode="exponential"), seeds=config.task.range_test_seeds
    )
    tested = replace(
        config, task=task, gpus=gpus, base_lr=None, budget_samples=None, budget_passes=None
    )
    range_test(tested, dataset, directory, logs)


def _where(config: Config, study: Path, gpus: int) -> Path:
    return study / ("range_test" if gpus == config.gpus else f"range_test_gpus_{gpus}")
