"""The progress of runs, in lines where there is no terminal."""

from __future__ import annotations

import logging

import pytest

from bsscale.terminal import progress
from bsscale.terminal.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_before_the_first_sample_no_time_is_foretold(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shown = Progress([("fixed gpus=1", 1000)])
    clock[0] = 60.0
    shown.evaluated(0, "auc 0.5000")
    assert caplog.messages == ["           0 samples  auc 0.5000"]


def test_the_time_that_is_left_follows_from_the_speed(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shown = Progress([("fixed gpus=1", 1000)])
    clock[0] = 10.0
    shown.advance(0, 200)
    shown.evaluated(0, "auc 0.6000")
    assert caplog.messages == ["         200 samples  auc 0.6000  20 samples/s  at most 40 s left"]
