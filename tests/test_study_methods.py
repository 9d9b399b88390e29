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


TUNED: dict[str, Any] = {"schedule": "fixed", "rate": "tuned"}


def test_arms_share_a_search_only_with_the_same_rule() -> None:
    made = arms(
        plain=TUNED,
        moved={**TUNED, "scaling": "sqrt"},
        moved_too={**TUNED, "scaling": {"name": "sqrt"}},
        kept={**TUNED, "scaling": {"name": "sqrt", "embeddings": {"lr": "none"}}},
        late={"schedule": "late_drop", "rate": "tuned", "scaling": "sqrt"},
        at_one={**TUNED, "scaling": "sqrt", "gpus": 1},
    )
    # (at 1 GPU a rule moves nothing: base_lr is tuned there already)
    assert list(tuned_arms(made)) == ["plain", "moved", "kept", "late"]
    assert msgspec.to_builtins(made[4].registered())["scaling"] == {
        "name": "sqrt", "embeddings": {"lr": "none"},
    }  # fmt: skip


@pytest.mark.parametrize("schedule", ["onecycle", "onecycle_torch"])
def test_a_rule_moves_no_peak_that_is_tuned(schedule: str) -> None:
    message = f"rate=tuned finds the peak of {schedule} at the arm's own gpus, and scaling=sqrt"
    with pytest.raises(ConfigError, match=message) as error:
        arms(x={"schedule": schedule, "rate": "tuned", "scaling": "sqrt"})
    assert "such as schedule=fixed" in error.value.remedy


def test_a_rule_moves_no_range_test() -> None:
    with pytest.raises(ConfigError, match="preset=true finds rates at the arm's own gpus"):
        arms(x={"schedule": "onecycle", "preset": True, "scaling": "sqrt"})


def test_a_rule_that_moves_nothing_or_does_not_fit_is_refused_before_a_study(
    bsscale: Callable[..., Finished],
) -> None:
    for arm, remedy in (
        ("{schedule: fixed, rate: tuned, scaling: legw}", "give schedule=linear_warmup or wsd"),
        ("{schedule: fixed, rate: tuned, scaling: adam_sde}", "or another optimizer"),
        ("{schedule: fixed, rate: tuned, scaling: custom}", "give one of its options"),
        ("{schedule: onecycle, rate: tuned, scaling: sqrt}", "such as schedule=fixed"),
    ):
        done = bsscale("task=study", "gpus=8", "dataset=synthetic", f"+task.arms.x={arm}")
        assert done.code == 1 and remedy in done.text, done.text


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
        "+task.arms.moved={schedule: fixed, rate: tuned, scaling: linear}",
    )  # fmt: skip
    done = bsscale(*command)
    assert done.code == 0, done.text
    study = json.loads((tmp_path / "study" / "study.json").read_text())
    own = {arm["name"]: arm.get("own") for arm in study["registered"]["arms"]}
    assert own["average"] == {"ema_half_life_samples": 1024} and own["clipped"] == {"cowclip": 0.01}
    tunings = {each["name"]: each for each in study["tunings"]}
    assert set(tunings) >= {"average", "moved", "tuned_constant"}
    # The rate of a search is base_lr, which the rule moves: the same rates, and other updates.
    for pattern in ("runs/moved/seed-*", "tuning/moved/lr-*/seed-*"):
        for run in (tmp_path / "study").glob(pattern):
            record = json.loads((run / "run.json").read_text())
            lines = map(json.loads, (run / "evals.jsonl").read_text().splitlines())
            rates = [line["lr"] for line in lines if line["step"]]
            assert record["scaling"] == "linear" and record["gpus"] == 4
            assert rates == pytest.approx([4 * record["base_lr"]] * len(rates))
    settled = next(each for each in study["chain"] if "arm moved" in each["content"])
    assert settled["content"]["arm moved"]["base_lr"] == tunings["moved"]["best"]
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
    for old, new, arm in (
        ("1024", "2048", "average"),
        ("scaling: linear", "scaling: sqrt", "moved"),
    ):
        other = bsscale(*(each.replace(old, new) for each in command))
        assert other.code == 1 and arm in other.text
