"""task=show_schedule: the plan and the picture, and no training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bsscale.schedules import OneCycle
from tests.conftest import SMALL, Finished

Bsscale = Callable[..., Finished]
CYCLE = ("schedule=onecycle", "schedule.cycle_first_step_size=40", "gpus=8")


def test_it_draws_what_would_be_trained_and_trains_nothing(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    done = bsscale(*SMALL, *CYCLE, "task=show_schedule", "hydra.run.dir=show")
    assert done.code == 0, done.text
    assert "learning rate over samples" in done.out and "momentum over samples" in done.out
    assert "rise" in done.out and "global batch" in done.out
    points = json.loads((tmp_path / "show" / "schedule.json").read_text())
    expected = OneCycle(0.1, 1.0, 40)
    lr = [point["lr"] for point in points][:80]
    np.testing.assert_allclose(lr, expected.lr(np.arange(80)))
    assert [point["samples"] for point in points][:3] == [0, 256, 512]
    assert (tmp_path / "show" / "schedule.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "show" / "schedule.svg").read_text()
    assert "learning rate" in svg and "momentum" in svg
    assert not (tmp_path / "show" / "evals.jsonl").exists()


def test_a_multirun_is_overlaid(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(
        "-m", *SMALL, "task=show_schedule", "gpus=8",
        "schedule=fixed,linear_scaling,onecycle", "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert done.code == 0, done.text
    svg = (tmp_path / "sweep" / "schedules.svg").read_text()
    for name in ("fixed gpus=8", "linear_scaling gpus=8", "onecycle gpus=8"):
        assert name in svg
    assert not (tmp_path / "sweep" / "comparison.json").exists()


def test_how_far_it_draws(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(
        *SMALL, *CYCLE, "task=show_schedule", "task.show_samples=2560", "hydra.run.dir=show"
    )
    assert done.code == 0, done.text
    points = json.loads((tmp_path / "show" / "schedule.json").read_text())
    assert [point["samples"] for point in points] == list(range(0, 2560, 256))


def test_in_a_terminal_that_knows_only_ascii(bsscale: Bsscale) -> None:
    done = bsscale(*SMALL, *CYCLE, "task=show_schedule", PYTHONIOENCODING="ascii")
    assert done.code == 0, done.text
    assert done.out.isascii()
