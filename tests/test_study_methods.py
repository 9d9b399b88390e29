"""Arms of a study with methods of their own: registered, searched and trained as registered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bsscale.errors import ConfigError
from bsscale.study.arms import Arm, make_arms, tuned_arms
from bsscale.study.options import StudyOptions
from tests.conftest import Finished
from tests.helpers import SMALL_STUDY


def arms(**given: Any) -> list[Arm]:
    baseline = {"role": "baseline", "gpus": 1, "schedule": "fixed"}
    return make_arms(StudyOptions(arms={"one_gpu": baseline, **given}), 8)


def test_an_arm_has_options_of_its_own() -> None:
    tuned = {"schedule": "fixed", "rate": "tuned"}
    made = arms(
        plain=tuned,
        averaged={**tuned, "ema_half_life_samples": 4096},
        averaged_too={**tuned, "ema_half_life_samples": 4096},
        clipped={**tuned, "cowclip": 1, "cowclip_bound": 1e-4},
    )
    assert [arm.own for arm in made[1:]] == [
        {},
        {"ema_half_life_samples": 4096},
        {"ema_half_life_samples": 4096},
        {"cowclip": 1.0, "cowclip_bound": 1e-4},
    ]
    # Each method has a search of its own; equal ones share it.
    assert list(tuned_arms(made)) == ["plain", "averaged", "clipped"]
    registered = [msgspec.to_builtins(arm.registered()) for arm in made]
    assert "own" not in registered[1]
    assert registered[2]["own"] == {"ema_half_life_samples": 4096}


@pytest.mark.parametrize(
    ("arm", "message", "remedy"),
    [
        ({"role": "baseline"}, "is the baseline and has ema_half_life_samples=64", "another arm"),
        (
            {"schedule": "onecycle", "preset": True},
            "preset=true and ema_half_life_samples=64, which its range test would not have",
            "rate=tuned",
        ),
    ],
)
def test_arms_that_cannot_have_them(arm: dict[str, Any], message: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        arms(x={"schedule": "fixed", **arm, "ema_half_life_samples": 64})
    assert remedy in error.value.remedy


@pytest.mark.slow
def test_a_study_of_methods(bsscale: Callable[..., Finished], tmp_path: Path) -> None:
    """Its runs are those that are registered, in the report and when it is started again."""
    command = (
        *SMALL_STUDY, "dataset.samples_per_pass=16000", "dataset.validation_samples=3000",
        "dataset.test_samples=2000", "task.directory=study", "task.trials=3",
        "task.lowest_lr=0.03", "task.highest_lr=1.92", "~task.arms.onecycle",
        "~task.arms.tuned_onecycle", "model=mlp",
        "+task.arms.average={schedule: fixed, rate: tuned, ema_half_life_samples: 1024}",
        "+task.arms.clipped={schedule: fixed, scaling: sqrt, cowclip: 0.01}",
    )  # fmt: skip
    done = bsscale(*command)
    assert done.code == 0, done.text
    study = json.loads((tmp_path / "study" / "study.json").read_text())
    own = {arm["name"]: arm.get("own") for arm in study["registered"]["arms"]}
    assert own["average"] == {"ema_half_life_samples": 1024} and own["clipped"] == {"cowclip": 0.01}
    assert {each["name"] for each in study["tunings"]} >= {"average", "tuned_constant"}
    for pattern, key, value in (
        ("runs/average/seed-*", "ema_half_life_samples", 1024),
        ("tuning/average/*/seed-*", "ema_half_life_samples", 1024),
        ("runs/clipped/seed-*", "cowclip", 0.01),
        ("runs/fixed/seed-*", "cowclip", None),
        ("tuning/tuned_constant/*/seed-*", "ema_half_life_samples", None),
    ):
        runs = list((tmp_path / "study").glob(f"{pattern}/run.json"))
        assert runs
        assert {json.loads(run.read_text())["config"][key] for run in runs} == {value}
    report = (tmp_path / "study" / "report" / "report.md").read_text()
    assert "is registered" not in report and "Changed" not in report
    again = bsscale(*command)
    assert again.code == 0, again.text
    assert json.loads((tmp_path / "study" / "study.json").read_text())["chain"] == study["chain"]
    other = bsscale(*command[:-2], command[-2].replace("1024", "2048"), command[-1])
    assert other.code == 1 and "average" in other.text
