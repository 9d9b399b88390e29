"""The progress of runs, in lines where there is no terminal."""

from __future__ import annotations

import io
import logging
import sys

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
    assert caplog.messages == ["0 samples  auc 0.5000"]


def test_the_time_that_is_left_follows_from_the_speed(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shown = Progress([("fixed gpus=1", 1000)])
    clock[0] = 10.0
    shown.advance(0, 200)
    shown.evaluated(0, "auc 0.6000")
    assert caplog.messages == ["200 samples  auc 0.6000  at most 40 s left"]


ARMS = [("onecycle gpus=8 schedule.cycle_max_lr=2", 523_000), ("fixed gpus=8", 523_000)]


def test_a_line_of_a_study_names_its_step_and_fits_80_columns(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shown = Progress(ARMS * 5, "study 5/6")
    clock[0] = 10.0
    shown.advance(0, 523_000)
    shown.ended(0, "exhausted")
    shown.ended(1, "reached")
    shown.evaluated(2, "auc 0.6000")
    assert caplog.messages == [
        "study 5/6  523,000 samples  1 budget spent, 1 reached of 10  at most 80 s left"
    ]
    one = Progress(ARMS[:1], "study 3/6")
    clock[0] = 20.0
    one.advance(0, 100_000)
    one.evaluated(0, "auc 0.6470  log_loss 0.4810  normalized_entropy 0.9613  lr 0.1959")
    assert caplog.messages[1] == (
        "study 3/6  100,000 samples  auc 0.6470  log_loss 0.4810  at most 42 s left"
    )
    assert all(len(line) <= 80 for line in caplog.messages)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (80, "study 4/6   19% 100k/523k [00:10<00:42, auc 0.6470  log_loss 0.4810"),
        (100, "study 4/6   19% 100k/523k [00:10<00:42, auc 0.6470  log_loss 0.4810  lr 0.1959"),
    ],
)
def test_the_bar_fits_the_terminal(
    columns: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = Progress(ARMS[:1], "study 4/6")
    shown.advance(0, 100_000)
    shown.evaluated(0, "auc 0.6470  log_loss 0.4810  lr 0.1959")
    shown.close()
    lines = [line.rstrip() for line in stream.getvalue().split("\r")]
    assert max(map(len, lines)) <= columns
    state = expected.partition("[")[0], expected.partition("auc")[2]
    assert any(line.startswith(state[0]) and line.endswith(state[1] + "]") for line in lines)
