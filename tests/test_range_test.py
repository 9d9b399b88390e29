"""task=range_test: from the command line to a preset that trains, and nothing left behind."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bsscale.data import load_dataset
from bsscale.engines.eager import EagerEngine
from bsscale.errors import ConfigError
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import read_run
from bsscale.schedules.options import RangeTestConfig
from bsscale.stats.evidence import Nothing
from bsscale.stats.range_test import Curve
from bsscale.study.options import RangeTestOptions
from bsscale.study.range_test import range_test
from tests.conftest import SMALL, Finished
from tests.helpers import MODELS, prepare, small_config

Bsscale = Callable[..., Finished]
WITHOUT_RATE = [argument for argument in SMALL if not argument.startswith(("base_lr", "budget"))]
QUICK = ("task=range_test", "task.seeds=2", "task.evaluations=40", "gpus=2", "model=mlp")
EXPONENTIAL = RangeTestConfig(mode="exponential")


def test_from_the_test_to_a_run_with_what_it_suggests(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(*WITHOUT_RATE, *QUICK, "hydra.run.dir=test")
    assert done.code == 0, done.text
    data = json.loads((tmp_path / "test" / "range_test.json").read_text())
    assert len(data["seeds"]) == 2
    edges = [seed["edge"] for seed in data["seeds"].values()]
    assert all(seed["diverged"] for seed in data["seeds"].values())
    # Half of the lowest edge, and twice that at a momentum of 0.8 instead of 0.9, in two digits.
    assert data["suggestion"]["cycle_max_lr"] == float(f"{min(edges):.2g}")
    for name in ("steepest", "valley", "minimum_tenth", "edge"):
        assert name in done.out
        spread = data["spread"][name]
        assert spread["lowest"] <= spread["median"] <= spread["highest"]
    assert (tmp_path / "test" / "range_test.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "test" / "range_test.svg").read_text()
    # The tested learning rates are those of an exponential ramp, and the run stops at divergence.
    points = read_evals(tmp_path / "test" / "seed-1000000")
    rates = [point.lr for point in points if point.lr is not None]
    assert rates == sorted(rates) and rates[-1] > 100 * rates[0]

    small = ["gpus=2", "model=mlp"]
    by_preset = bsscale(
        *WITHOUT_RATE, *small, "base_lr=0.1", "schedule=onecycle",
        "schedule.preset=test/preset.yaml", "hydra.run.dir=preset",
    )  # fmt: skip
    assert by_preset.code == 0, by_preset.text
    [line] = [x for x in done.out.splitlines() if x.startswith("as overrides")]
    overrides = shlex.split(line.removeprefix("as overrides"))
    # No rate ships for this model: the overrides have one.
    low = data["suggestion"]["cycle_min_lr"]
    assert f"base_lr={low}" in overrides
    pasted = bsscale(*WITHOUT_RATE, *small, *overrides, "hydra.run.dir=pasted")
    assert pasted.code == 0, pasted.text
    a, b = (read_evals(tmp_path / name / "") for name in ("preset", "pasted"))
    assert [(p.samples, p.metrics, p.lr) for p in a] == [(p.samples, p.metrics, p.lr) for p in b]
    assert max(p.lr or 0 for p in a) <= data["suggestion"]["cycle_max_lr"]


def made(directory: Path, **options: Any) -> Any:
    """What a test with these options writes, without a command line."""
    task = RangeTestOptions(**{"ramp": EXPONENTIAL, "seeds": 1, "evaluations": 40, **options})
    gpus = 2 if task.ramp.mode == "linear" else 1
    config = small_config(gpus=gpus, model=MODELS["mlp"], task=task, budget_samples=None)
    range_test(config, load_dataset(config.dataset), directory)
    return json.loads((directory / "range_test.json").read_text())


def test_at_one_gpu_it_suggests_a_grid_for_base_lr(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        data = made(tmp_path)
    [line] = [text for text in caplog.messages if text.startswith("to tune base_lr")]
    rates = [float(rate) for rate in line.split("base_lr=")[1].split(",")]
    assert rates == data["base_lr_grid"] and len(rates) == 7
    [seed] = data["seeds"].values()
    # Half of the edge, and twice that at a momentum of 0.8 instead of 0.9.
    assert data["suggestion"]["cycle_max_lr"] == float(f"{seed['edge']:.2g}")
    # Each rate is half of the next, the highest is half of the edge; all have two digits.
    assert rates == pytest.approx([seed["edge"] / 2**n for n in (7, 6, 5, 4, 3, 2, 1)], rel=0.05)


def test_deepspeeds_linear_ramp(tmp_path: Path) -> None:
    ramp = RangeTestConfig(
        mode="linear",
        lr_range_test_min_lr=0.01,
        lr_range_test_step_size=20,
        lr_range_test_step_rate=5,
        lr_range_test_staircase=True,
    )
    made(tmp_path, ramp=ramp)
    for point in read_evals(tmp_path / "seed-1000000")[1:]:
        stairs = (point.step - 1) // 20
        assert point.lr == pytest.approx(0.01 * (1 + 5 * stairs))
    assert read_run(tmp_path / "seed-1000000").schedule == "range_test"


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"seeds": 0}, "task.seeds=0"),
        ({"evaluations": 1}, "task.evaluations=1"),
        ({"ramp": replace(EXPONENTIAL, lr_range_test_step_rate=5)}, "lr_range_test_step_rate=5"),
        ({"ramp": replace(EXPONENTIAL, lr_range_test_min_lr=100)}, "100"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], fact: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        made(tmp_path, **options)
    assert fact in raised.value.fact and raised.value.remedy
    assert not list(tmp_path.iterdir())


def test_training_after_a_test_is_training_without_one(tmp_path: Path) -> None:
    task = RangeTestOptions(
        ramp=RangeTestConfig(mode="exponential"), seeds=1, evaluations=10, first_seed=0
    )
    config = small_config(gpus=2, model=MODELS["mlp"], task=task)
    plan, dataset = prepare(config)

    def trained() -> list[torch.Tensor]:
        engine = EagerEngine(plan, dataset)
        engine.begin(0, plan)
        engine.advance(20)
        return [parameter.detach().clone() for parameter in engine.model(0).parameters()]

    before = trained()
    range_test(replace(config, budget_samples=None), dataset, tmp_path)
    after = trained()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


# What it says where its curves carry no suggestion; tests/test_evidence.py has the decisions.


def test_a_ramp_that_begins_beyond_the_edge_suggests_nothing(tmp_path: Path) -> None:
    ramp = replace(EXPONENTIAL, lr_range_test_min_lr=1e5, lr_range_test_max_lr=1e6)
    suggests_nothing(tmp_path, "diverged within 1 evaluation of the lowest rate", ramp=ramp)


def test_a_ramp_of_a_single_update_suggests_nothing(tmp_path: Path) -> None:
    ramp = replace(EXPONENTIAL, lr_range_test_step_size=1)
    suggests_nothing(tmp_path, "has 1 evaluation along the ramp", ramp=ramp)


def test_a_test_that_learns_nothing_suggests_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = Curve(np.geomspace(0.1, 1, 10), np.full(10, 2.0), np.full(10, 0.5))
    monkeypatch.setattr("bsscale.study.range_test._curve", lambda _: flat)
    suggests_nothing(tmp_path, "no evaluation was better than chance")


def suggests_nothing(
    directory: Path, reason: str, ramp: RangeTestConfig = EXPONENTIAL, **options: Any
) -> None:
    """It says why, in words and in its record, and writes no preset."""
    task = RangeTestOptions(ramp=ramp, seeds=1, evaluations=10)
    config = small_config(**{"task": task, "base_lr": None, "budget_samples": None, **options})
    found = range_test(config, load_dataset(config.dataset), directory)
    assert isinstance(found, Nothing) and reason in found.reason and found.remedy
    data = json.loads((directory / "range_test.json").read_text())
    assert data["suggestion"] is None and data["reason"] == found.reason
    assert not (directory / "preset.yaml").exists()


@pytest.mark.slow
def test_the_command_ends_as_rejected_where_it_suggests_nothing(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    done = bsscale(*WITHOUT_RATE, *QUICK, "task.ramp.lr_range_test_min_lr=25", "task.seeds=1")
    assert done.code == 1 and "the range test suggests nothing" in done.text, done.text
    assert "Traceback" not in done.text
