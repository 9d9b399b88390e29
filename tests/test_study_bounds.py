"""What a study gives up for ``task.max_runs`` and ``task.max_hours``, and in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bsscale.errors import ConfigError
from bsscale.study.arms import make_arms
from bsscale.study.bounds import Most, fitted, given_up, reductions
from bsscale.study.options import StudyOptions

ARMS = {
    "one_gpu": {"role": "baseline", "gpus": 1, "schedule": {"name": "fixed"}},
    "fixed": {"schedule": {"name": "fixed"}},
    "linear": {"schedule": {"name": "linear_scaling"}},
    "onecycle": {"schedule": {"name": "onecycle"}, "preset": True},
    "tuned": {"role": "control", "schedule": {"name": "fixed"}, "rate": "tuned"},
}
TASK = StudyOptions(arms=ARMS, seeds=8, trials=6, finalist_seeds=2, tuning_seeds=2)


def steps(task: StudyOptions) -> list[str]:
    """What each reduction gives up beside the one before it."""
    found, before = [], task
    for after in reductions(task, make_arms(task, 8)):
        found.append(given_up(before, after))
        before = after
    return found


def test_the_order() -> None:
    assert steps(TASK) == [
        "7 report seeds instead of 8",
        "6 report seeds instead of 7",
        "5 rates in a search instead of 6",
        "1 seeds of finalists instead of 2",
        "1 seeds of a rate instead of 2",
        "2 seeds of a range test instead of 3",
        "1 seeds of a range test instead of 2",
        "4 seeds for the target instead of 5",
        "3 seeds for the target instead of 4",
        "2 seeds for the target instead of 3",
        "without the arms tuned",
        "without the arms linear",
        "without the arms fixed",
        "5 report seeds instead of 6",
        "4 report seeds instead of 5",
        "3 report seeds instead of 4",
        "2 report seeds instead of 3",
    ]


def test_looks_are_given_up_before_seeds() -> None:
    assert steps(replace(TASK, seeds="auto"))[:3] == [
        "15 report seeds instead of 20",
        "10 report seeds instead of 15",
        "9 report seeds instead of 10",
    ]


def test_one_arm_stays_to_be_compared() -> None:
    without_primary = {k: v for k, v in ARMS.items() if k != "onecycle"}
    task = replace(TASK, arms=without_primary)
    *_, last = reductions(task, make_arms(task, 8))
    assert "one_gpu" in last.arms and len(last.arms) == 2


def seeds_as_runs(task: StudyOptions) -> Most:
    seeds = int(task.seeds)
    return Most(runs=10 * seeds, samples=3600 * seeds, hours=float(seeds))


@pytest.mark.parametrize(
    ("bounds", "seeds"),
    [
        ({}, 8),
        ({"max_runs": 80}, 8),
        ({"max_runs": 79}, 7),
        ({"max_runs": 60}, 6),
        ({"max_hours": 6.5}, 6),
        ({"max_runs": 80, "max_hours": 7.0}, 7),
        ({"max_runs": 20}, 2),
    ],
)
def test_the_first_study_that_fits(bounds: dict[str, float], seeds: int) -> None:
    task = replace(TASK, **bounds)
    assert fitted(task, make_arms(task, 8), seeds_as_runs).seeds == seeds


def test_what_cannot_fit_is_refused() -> None:
    task = replace(TASK, max_runs=19)
    with pytest.raises(ConfigError, match=r"max_runs=19, and the smallest .* in at most 20 runs"):
        fitted(task, make_arms(task, 8), seeds_as_runs)
    task = replace(TASK, max_hours=1.0)
    with pytest.raises(ConfigError, match="the speed of a run is not known"):
        fitted(task, make_arms(task, 8), lambda task: Most(1, 1, None))
