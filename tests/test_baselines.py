"""The tuned rates and targets that ship, and how they are found."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hydra import compose, initialize_config_dir

from bsscale.cli.jobs import Job
from bsscale.cli.launchers.register import register_launchers
from bsscale.cli.store import CONFIG_DIRECTORY, register_schemas
from bsscale.config import Config
from bsscale.planning import baselines
from bsscale.planning.baselines import Baseline, default_target, find, settings_of, tune
from bsscale.stats.search import Result, Trial
from tests.conftest import SMALL, Finished
from tests.helpers import small_config


def composed(*overrides: str) -> Config:
    register_schemas()
    register_launchers()
    with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        return Job(compose("config", overrides=list(overrides)), None).config


@pytest.mark.parametrize("dataset", ["flights", "synthetic"])
@pytest.mark.parametrize("model", ["mlp", "dlrm"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_what_ships(dataset: str, model: str, optimizer: str) -> None:
    overrides = [f"dataset={dataset}", f"model={model}", f"optimizer={optimizer}"]
    found = find(composed(*overrides))
    assert found.baseline is not None and found.target is not None
    entry = found.baseline
    assert 0.5 < found.target < 1 and entry.base_lr > 0 and len(entry.best_value) >= 5
    # The rate is the best of its sweep, inside it, and the seeds that judge it did not choose it.
    rates = [row["base_lr"] for row in entry.tuning]
    assert rates[0] < entry.base_lr < rates[-1]
    best = max(entry.tuning, key=lambda row: float(row["median_best_value"]))
    assert best["base_lr"] == entry.base_lr
    tuning, report = entry.commands
    assert all(word in tuning and word in report for word in overrides)

    def seeds(command: str) -> set[str]:
        [word] = [w for w in command.split() if w.startswith("seed=")]
        return set(word.removeprefix("seed=").split(","))

    assert not seeds(tuning) & seeds(report)


def test_the_target_is_that_of_the_default_optimizer() -> None:
    sgd = find(composed("optimizer=sgd"))
    assert sgd.baseline is not None
    assert sgd.target == default_target(sgd.baseline.best_value)
    assert find(composed("optimizer=adagrad")).target == sgd.target
    assert find(composed("optimizer=adagrad")).baseline is None


def test_the_default_target_is_the_median_less_a_margin() -> None:
    assert default_target([0.80, 0.78, 0.79]) == pytest.approx(0.785)
    assert default_target([0.80]) == statistics.median([0.80]) - 0.005


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.embedding_dim=8", "model.embedding_dim=8, tuned at 16"),
        ("micro_batch=64", "micro_batch=64, tuned at 128"),
        ("optimizer.momentum=0.5", "optimizer.momentum=0.5, tuned at 0.9"),
        ("clip_grad_norm=1", "clip_grad_norm=1.0, tuned without it"),
        ("precision=bf16", "precision=bf16, tuned at fp32"),
    ],
)
def test_a_rate_tuned_for_other_settings_is_not_handed_out(override: str, said: str) -> None:
    found = find(composed(override))
    assert found.baseline is None
    assert said in found.why_not


def test_how_it_is_computed_does_not_move_the_target() -> None:
    usual = find(composed())
    for override in ("clip_grad_norm=1", "precision=bf16", "precision=fp64"):
        assert find(composed(override)).target == usual.target
    assert find(composed("precision=fp64")).baseline == usual.baseline


def test_what_does_not_change_the_training_does_not_lose_the_baseline() -> None:
    overrides = ("gpus=8", "seed=7", "schedule=onecycle", "tracker=none", "budget_passes=2")
    assert find(composed(*overrides)).baseline is not None


def test_lookup_in_a_table_of_ones_own() -> None:
    config = small_config()
    entry = Baseline(settings_of(config), 0.3, (0.7, 0.72, 0.71), (), ())
    found = find(config, [entry])
    assert found.baseline == entry and found.target == pytest.approx(0.705)
    assert find(replace(config, micro_batch=16), [entry]).baseline is None
    assert find(replace(config, clip_grad_norm=1.0), [entry]).baseline is None
    clipped = replace(entry, settings=settings_of(replace(config, clip_grad_norm=1.0)))
    assert find(replace(config, clip_grad_norm=1.0), [clipped]).baseline == clipped
    assert "clip_grad_norm=None, tuned at 1.0" in find(config, [clipped]).why_not


def test_the_rate_with_the_highest_median_wins() -> None:
    values = {0.4: [0.7, 0.9, 0.71], 0.1: [0.72, 0.5, 0.73], 0.2: [0.6]}
    best, table = tune([Trial(r, tuple(map(Result, each))) for r, each in values.items()])
    assert best == 0.1
    assert [row["base_lr"] for row in table] == [0.1, 0.2, 0.4]
    assert "median_samples_to_target" not in table[0]


def test_once_there_is_a_target_the_rate_with_the_fewest_samples_wins() -> None:
    trials = [Trial(0.1, (Result(0.8, 300.0),)), Trial(0.2, (Result(0.7, 200.0),))]
    best, table = tune([*trials, Trial(0.4, (Result(0.9, math.inf),))])
    assert best == 0.2
    assert [row["median_samples_to_target"] for row in table] == [300.0, 200.0, None]


@pytest.mark.slow
def test_two_multiruns_make_an_entry(
    bsscale: Callable[..., Finished],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = [*(a for a in SMALL if not a.startswith("base_lr")), "clip_grad_norm=1"]
    tuning = bsscale("-m", *small, "base_lr=0.001,0.1,1e3", "hydra.sweep.dir=tuning")
    report = bsscale("-m", *small, "base_lr=0.1", "seed=5,6", "hydra.sweep.dir=report")
    assert tuning.code == report.code == 0
    monkeypatch.setattr(baselines, "SHIPPED", tmp_path / "baselines.json")
    (tmp_path / "baselines.json").write_text("[]")
    arguments = [str(tmp_path / "tuning"), str(tmp_path / "report")]
    assert baselines.main(arguments) == 0
    said = capsys.readouterr().out
    assert "base_lr=0.1\n" in said
    # The neighbours of 0.1 are far away: two rates at a time in each gap.
    assert "not refined: run it at base_lr=0.00464,0.0215,2.15,46.4 too, on 1 seeds each" in said
    [entry] = baselines._load.__wrapped__()
    assert entry.base_lr == 0.1 and len(entry.best_value) == 2
    assert entry.commands[0].startswith("python -m bsscale -m dataset=synthetic")
    assert "base_lr=0.001,0.1,1e3" in entry.commands[0]
    assert "clip_grad_norm=1" in entry.commands[0]
    assert entry.settings["clip_grad_norm"] == 1.0 and "precision" not in entry.settings


def test_a_directory_without_runs_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert baselines.main([str(tmp_path)]) == 1
    assert "holds no finished run" in capsys.readouterr().err


def test_reports_and_tuning_must_agree_on_the_rate(tmp_path: Path) -> None:
    """A report at another rate than the tuned one is refused, not filed."""
    from bsscale.errors import RecordsError
    from tests.test_records import RUN

    records: list[Any] = [msgspec.structs.replace(RUN, base_lr=0.2)]
    with pytest.raises(RecordsError, match=r"base_lr=0\.1"):
        baselines._write_entry(records, 0.1, [], [])
