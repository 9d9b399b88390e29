"""W&B as a mirror: offline runs are read back with its own reader."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bsscale.config import TrackerConfig, WandbConfig
from bsscale.records import read_evals, read_run
from bsscale.tracking import NoTracker, WandbTracker, make_tracker
from tests.conftest import SMALL, Finished

Bsscale = Callable[..., Finished]
ON = [argument for argument in SMALL if argument != "tracker=none"]


def leet(directory: Path) -> list[dict[str, Any]]:
    """The records of the one offline run in `directory`, read by ``wandb leet inspect``."""
    [run] = (directory / "wandb").glob("offline-run-*")
    wandb = Path(sys.executable).with_name("wandb")
    done = subprocess.run(
        [str(wandb), "leet", "inspect", "--json", str(run)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def history(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = [record["history"]["item"] for record in records if record["type"] == "history"]
    return [{k: v for k, v in row.items() if not k.startswith("_")} for row in rows]


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for record in records:
        if record["type"] == "summary":
            merged.update(record["summary"].get("update", {}))
    return merged


def test_an_offline_run_holds_what_the_records_hold(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(*ON, "hydra.run.dir=run", "schedule=onecycle", "gpus=8", "target=0.55")
    assert done.code == 0, done.text
    assert "wandb" not in done.err.lower()
    record, points = read_run(tmp_path / "run"), read_evals(tmp_path / "run")
    mirrored = leet(tmp_path / "run")

    rows = history(mirrored)
    expected = [{k: v for k, v in asdict(p).items() if v is not None} for p in points]
    assert rows == expected
    end = summary(mirrored)
    for key in ("status", "reason", "target", "samples_to_target", "best_auc", "test_auc"):
        assert end[key] == getattr(record, key)
    assert end["samples_to_target_interval"] == list(record.samples_to_target_interval or ())
    metrics = [m["metric"] for m in mirrored if m["type"] == "metric"]
    assert any(m.get("step_metric") == "samples" and m.get("glob_name") == "*" for m in metrics)
    [run] = [m["run"] for m in mirrored if m["type"] == "run"]
    assert run["config"]["update"]["gpus"] == 8
    assert mirrored[-1]["exit"]["exit_code"] == 0


def test_every_job_of_a_multirun_is_a_run_of_its_own_and_one_compares(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    done = bsscale("-m", *ON, "hydra.sweep.dir=sweep", "schedule=fixed,onecycle", "gpus=8")
    assert done.code == 0, done.text
    jobs = [leet(tmp_path / "sweep" / job) for job in ("0", "1")]
    for job, mirrored in enumerate(jobs):
        assert summary(mirrored)["status"] == read_run(tmp_path / "sweep" / str(job)).status
        assert mirrored[-1]["type"] == "exit"
    comparison = leet(tmp_path / "sweep")
    runs = [m["run"] for mirrored in (*jobs, comparison) for m in mirrored if m["type"] == "run"]
    assert len({run["run_group"] for run in runs}) == 1 and len(runs) == 3
    first = history(comparison)[0]
    arms = {key for key in first if key.startswith("auc/")}
    assert len(arms) == 2 and first["samples"] == 0
    curve = [row for row in history(comparison) if arms <= row.keys()]
    expected = {p.samples: p.auc for p in read_evals(tmp_path / "sweep" / "0")}
    [fixed] = [arm for arm in arms if arm.startswith("auc/fixed gpus=8")]
    assert {row["samples"]: row[fixed] for row in curve} == expected


def test_wandb_mode_disabled_is_honoured(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(*ON, "hydra.run.dir=run", WANDB_MODE="disabled")
    assert done.code == 0
    assert not list(tmp_path.rglob("*.wandb"))


def test_training_goes_on_if_wandb_cannot_start(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(*ON, "hydra.run.dir=run", "tracker.mode=sideways")
    assert done.code == 0, done.text
    assert read_run(tmp_path / "run").status == "exhausted"
    assert done.text.count("W&B failed") == 1
    assert "Traceback" not in done.text


def test_a_tracker_that_fails_later_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def log(self, data: object) -> None:
            raise ConnectionError("the network is gone")

    def start(self: WandbTracker, *_: object) -> None:
        self._run = Broken()  # type: ignore[assignment]

    monkeypatch.setattr(WandbTracker, "_start", start)
    tracker = WandbTracker(WandbConfig(), tmp_path, name="x", group=None, job_type="y")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            tracker.log({"samples": 1})
        tracker.close({})
    assert caplog.text.count("the network is gone") == 1


def test_no_tracker_is_none(tmp_path: Path) -> None:
    made = make_tracker(TrackerConfig("none"), tmp_path, name="x", group=None, job_type="y")
    assert isinstance(made, NoTracker)
