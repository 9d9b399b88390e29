"""Every derived number of a run, and every rejected one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bsscale.config import ExecutorOptions
from bsscale.errors import ConfigError
from bsscale.optimizers import AdagradConfig, AdamConfig, SGDConfig
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.schedules import Constant, OneCycle
from bsscale.schedules.options import LinearScalingConfig, OneCycleConfig
from tests.helpers import small_config

PASS = 261_876
CPU = Devices(cuda=0)


def plan(devices: Devices = CPU, samples_per_pass: int = PASS, **changes: Any) -> Any:
    changes = {"budget_samples": None, "eval_interval_samples": None, **changes}
    return make_plan(small_config(**changes), samples_per_pass, devices)


def test_global_batch_is_micro_batch_x_gpus_x_grad_accum() -> None:
    made = plan(gpus=8, micro_batch=128, grad_accum=2)
    assert made.global_batch == 2048
    assert made.steps == -(-made.budget_samples // 2048)


def test_gpus_null_means_one() -> None:
    assert plan(gpus=None).gpus == 1


def test_default_budget_is_eight_passes_up_to_a_whole_evaluation_interval() -> None:
    made = plan(gpus=8, micro_batch=128)
    assert made.eval_interval_samples == 128 * 128
    assert made.budget_samples % made.eval_interval_samples == 0
    assert 0 <= made.budget_samples - 8 * PASS < made.eval_interval_samples


@pytest.mark.parametrize("gpus", [2, 8, 64])
def test_the_evaluation_grid_is_the_same_whatever_the_gpus(gpus: int) -> None:
    def grid(count: int) -> list[int]:
        made = plan(gpus=count)
        steps = range(1, made.steps + 1)
        return [
            step * made.global_batch for step in steps if made.next_evaluation(step - 1) == step
        ]

    assert grid(gpus) == grid(1)


def test_a_step_larger_than_the_interval_evaluates_at_every_step() -> None:
    made = plan(gpus=8, micro_batch=128, eval_interval_samples=1000)
    assert all(made.next_evaluation(step - 1) == step for step in range(1, 20))


def test_an_interval_that_steps_do_not_meet_evaluates_at_the_first_step_past_each_point() -> None:
    made = plan(gpus=3, micro_batch=100, eval_interval_samples=1000, budget_samples=3000)
    evaluated = [
        step * 300 for step in range(1, made.steps + 1) if made.next_evaluation(step - 1) == step
    ]
    assert evaluated == [1200, 2100, 3000]


def test_linear_scaling_multiplies_by_gpus_only() -> None:
    made = plan(gpus=8, grad_accum=2, base_lr=0.05, schedule=LinearScalingConfig())
    assert made.schedule == Constant(0.4)


def test_onecycle_defaults_are_above_fixed_and_briefly_above_linear() -> None:
    schedule = plan(gpus=8, micro_batch=128, base_lr=0.05, schedule=OneCycleConfig()).schedule
    assert isinstance(schedule, OneCycle)
    assert schedule.cycle_min_lr == 0.05
    assert schedule.cycle_max_lr == pytest.approx(1.25 * 8 * 0.05)
    assert schedule.cycle_first_step_size == round(PASS / 3 / 1024)
    assert schedule.cycle_momentum


def test_onecycle_leaves_momentum_alone_where_the_optimizer_has_none() -> None:
    for optimizer in (AdagradConfig(), SGDConfig(momentum=0.0)):
        made = plan(schedule=OneCycleConfig(), optimizer=optimizer)
        assert made.schedule.momentum(0) is None
    assert plan(schedule=OneCycleConfig(), optimizer=AdamConfig()).schedule.momentum(0) == 0.9


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({"cycle_first_step_size": 70}, 70),
        ({"cycle_first_samples": 10_240}, 10),
        ({"cycle_first_fraction": 0.5}, round(PASS / 2 / 1024)),
    ],
)
def test_each_name_of_a_length(given: dict[str, Any], steps: int) -> None:
    made = plan(gpus=8, micro_batch=128, schedule=OneCycleConfig(**given))
    assert made.schedule.cycle_first_step_size == steps
    assert made.schedule.second_step_size == steps


def test_the_tutorials_name_of_the_decay() -> None:
    made = plan(schedule=OneCycleConfig(post_cycle_decay_step_size=12))
    assert made.schedule.decay_step_size == 12


@pytest.mark.parametrize(
    ("changes", "devices", "executor", "processes", "replicas"),
    [
        ({"gpus": 8}, 0, "virtual", 1, 8),
        ({"gpus": 8}, 1, "virtual", 1, 8),
        ({"gpus": 8}, 8, "ddp", 8, 1),
        ({"gpus": 8}, 4, "ddp", 4, 2),
        ({"gpus": 8}, 3, "ddp", 2, 4),
        ({"gpus": 1}, 8, "virtual", 1, 1),
        ({"gpus": 4, "executor": ExecutorOptions("ddp", "cpu")}, 8, "ddp", 4, 1),
        ({"gpus": 8, "executor": ExecutorOptions("ddp")}, 0, "ddp", 8, 1),
        ({"gpus": 8, "executor": ExecutorOptions("ddp")}, 4, "ddp", 4, 2),
    ],
)
def test_the_executor_follows_the_devices(
    changes: dict[str, Any], devices: int, executor: str, processes: int, replicas: int
) -> None:
    made = plan(Devices(cuda=devices), **{"executor": ExecutorOptions("auto"), **changes})
    assert (made.executor, made.processes, made.replicas_per_device) == (
        executor,
        processes,
        replicas,
    )


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"gpus": 0}, "gpus=0"),
        ({"gpus": -1}, "gpus=-1"),
        ({"micro_batch": 0}, "micro_batch=0"),
        ({"grad_accum": 0}, "grad_accum=0"),
        ({"seed": -1}, "seed=-1"),
        ({"target": 0.5}, "target=0.5"),
        ({"target": 76.0}, "target=76"),
        ({"base_lr": 0.0}, "base_lr=0"),
        ({"base_lr": float("nan")}, "base_lr=nan"),
        ({"budget_samples": 0}, "budget_samples=0"),
        ({"budget_passes": -1.0}, "budget_passes=-1"),
        ({"budget_passes": 1.0, "budget_samples": 5}, "budget_samples=5 and budget_passes=1"),
        ({"precision": "fp8"}, "precision=fp8"),
        ({"clip_grad_norm": 0.0}, "clip_grad_norm=0.0"),
        ({"clip_grad_norm": -1.0}, "clip_grad_norm=-1.0"),
        ({"clip_grad_norm": float("inf")}, "clip_grad_norm=inf"),
        ({"clip_grad_norm": float("nan")}, "clip_grad_norm=nan"),
        ({"gpus": 8192}, "262,144"),
        ({"executor": ExecutorOptions("dpp")}, "executor=dpp"),
        ({"executor": ExecutorOptions("auto", "cuda")}, "without a CUDA device"),
        ({"executor": ExecutorOptions("auto", "cpu", 0)}, "executor.threads=0"),
        ({"optimizer": SGDConfig(momentum=1.0)}, "optimizer.momentum=1.0"),
        ({"optimizer": SGDConfig(momentum=0.0, nesterov=True)}, "nesterov"),
        ({"optimizer": AdamConfig(beta2=1.0)}, "optimizer.beta2=1.0"),
        ({"optimizer": AdamConfig(weight_decay=-1.0)}, "weight_decay=-1.0"),
        (
            {"schedule": OneCycleConfig(cycle_momentum=True), "optimizer": AdagradConfig()},
            "no momentum",
        ),
        (
            {"schedule": OneCycleConfig(cycle_first_step_size=5, cycle_first_samples=5)},
            "cycle_first_step_size=5 and schedule.cycle_first_samples=5",
        ),
        (
            {"schedule": OneCycleConfig(decay_step_size=5, post_cycle_decay_step_size=5)},
            "two names",
        ),
        ({"schedule": OneCycleConfig(cycle_max_lr=0.01)}, "0.01"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_a_remedy(
    changes: dict[str, Any], fact: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        plan(**changes)
    assert fact in raised.value.fact
    assert raised.value.remedy
    assert str(raised.value).isascii()


def test_replicas_that_do_not_divide_name_the_counts_that_do() -> None:
    with pytest.raises(ConfigError, match="1, 2, 4"):
        plan(Devices(cuda=6), gpus=8, executor=ExecutorOptions("ddp"))


def test_stairs_that_a_half_has_no_steps_for_are_warned_of() -> None:
    made = plan(schedule=OneCycleConfig(cycle_first_step_size=10, cycle_first_stair_count=100))
    assert any("100" in warning for warning in made.warnings)


def test_without_a_baseline_base_lr_must_be_given_and_the_error_says_how_to_find_it() -> None:
    with pytest.raises(ConfigError, match="-m schedule=fixed gpus=1"):
        plan(base_lr=None, micro_batch=7)


def test_a_target_that_no_evaluation_can_confirm_is_warned_of() -> None:
    two = {"target": 0.6, "eval_interval_samples": 2048, "budget_samples": 4096}
    assert plan(**two).warnings == ()
    for fewer in ({"budget_samples": 2048}, {"eval_interval_samples": 4096}):
        [warning] = plan(**two | fewer).warnings
        assert "cannot be reached" in warning and "eval_interval_samples=" in warning
        assert plan(**two | fewer).with_target(None, "none").warnings == ()


def test_a_budget_that_is_rounded_up_by_much_is_warned_of() -> None:
    small = {"samples_per_pass": 20_000, "eval_interval_samples": 2048, "budget_samples": None}
    [warning] = plan(**small, budget_passes=0.01).warnings
    assert "budget_passes=0.01 is 200 samples, and the budget is 2,048" in warning
    assert plan(**small, budget_passes=1.0).warnings == ()


@pytest.mark.parametrize("count", ["gpus", "micro_batch", "budget_samples", "grad_accum"])
def test_numbers_that_no_training_has(count: str) -> None:
    with pytest.raises(ConfigError, match="is above 9e"):
        plan(**{count: 10**400})
    with pytest.raises(ConfigError, match="budget_passes"):
        plan(budget_samples=None, budget_passes=1e308)


@pytest.mark.parametrize(
    ("rows", "micro_batch", "gpus", "interval"),
    [
        (0, 128, 1, 16_384),
        (32_734, 128, 8, 16_384),  # flights
        (40_000, 128, 8, 16_384),  # synthetic
        (50_000, 128, 1, 16_384),
        (100_000, 128, 1, 212_992),
        (100_000, 128, 64, 212_992),
        (100_000, 1024, 1, 262_144),
        (1_000_000, 128, 1, 2_015_232),
    ],
)
def test_large_validation_splits_are_evaluated_less_often(
    rows: int, micro_batch: int, gpus: int, interval: int
) -> None:
    config = small_config(
        eval_interval_samples=None, micro_batch=micro_batch, gpus=gpus, budget_samples=None
    )
    plan = make_plan(config, 10_000_000, Devices(cuda=0), evaluated_rows=rows)
    assert plan.eval_interval_samples == interval
    given = replace(config, eval_interval_samples=4096)
    plan = make_plan(given, 10_000_000, Devices(cuda=0), evaluated_rows=rows)
    assert plan.eval_interval_samples == 4096
