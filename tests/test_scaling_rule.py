"""Scaling rules as values: formulas, what a run makes of them, and what is refused."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsscale.errors import ConfigError
from bsscale.optimizers import AdagradConfig, AdamConfig, AdamWConfig, SGDConfig
from bsscale.planning.description import describe_plan
from bsscale.planning.plan import Plan
from bsscale.records.identity import arm_hash, arm_label
from bsscale.schedules import Constant, GroupRule, LinearWarmup, OneCycle, ScalingRule
from bsscale.schedules.options import (
    SCHEDULES,
    CosineConfig,
    FixedConfig,
    LinearScalingConfig,
    LinearWarmupConfig,
    OneCycleConfig,
    RangeTestConfig,
    ScaledConfig,
    ScheduleConfig,
    SequenceConfig,
    SqrtScalingConfig,
    WSDConfig,
)
from bsscale.schedules.options.scaling import (
    SCALINGS,
    CustomRule,
    GroupScaling,
    LinearRule,
    SqrtRule,
    given_scaling,
    make_scaling,
)
from bsscale.schedules.scaling_rule import power
from bsscale.study.arms import make_arms
from bsscale.study.options import StudyOptions
from tests.composing import hydra, typed
from tests.helpers import MODELS, prepare, small_config

__all__ = ["hydra"]

EMBEDDINGS_AT_ONE_GPU = SqrtRule(embeddings=GroupScaling(lr="none"))


def plan_of(**changes: Any) -> Plan:
    """Of 16 GPUs, and a small model with embedding tables."""
    return prepare(small_config(**{"gpus": 16, "model": MODELS["mlp"], **changes}))[0]


def refused(message: str, remedy: str, **changes: Any) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        plan_of(**changes)
    assert remedy in error.value.remedy
    assert str(error.value).isascii()


# --- Formulas ---


def test_golden_values() -> None:
    assert [power(16, p) for p in (0, 0.5, 1, 0.25, -0.5)] == [1.0, 4.0, 16.0, 2.0, 0.25]
    sde = make_scaling("adam_sde").build().dense
    assert sde.lr_factor(4) == 2.0
    assert sde.option_at("momentum", 0.9, 4) == pytest.approx(0.6)
    assert sde.option_at("beta2", 0.999, 4) == pytest.approx(0.996)
    assert sde.option_at("eps", 1e-8, 4) == pytest.approx(5e-9)
    assert sde.option_at("weight_decay", 0.01, 4) == 0.01
    half_life = GroupRule(momentum="power", beta2="power", weight_decay=1.0)
    assert half_life.option_at("momentum", 0.5, 4) == 0.0625
    assert half_life.option_at("weight_decay", 0.01, 4) == 0.04


def test_golden_values_of_legw() -> None:
    """The formula: at step t of a warm-up of w samples at 1 GPU, √κ·lr·t·B/(κ·w), then √κ·lr."""
    kappa, base_lr, warmup = 16, 0.1, 1024
    plan = plan_of(
        schedule=LinearWarmupConfig(warmup_samples=warmup, start_lr=0.0),
        scaling=make_scaling("legw"), gpus=kappa, base_lr=base_lr, budget_samples=40_960,
    )  # fmt: skip
    batch = plan.global_batch
    for t in (0, 1, 7, 31, 32, 33, 79):
        share = min(1.0, t * batch / (kappa * warmup))
        assert plan.schedule.lr(t) == pytest.approx(math.sqrt(kappa) * base_lr * share, rel=1e-14)
    at_one = plan_of(
        schedule=LinearWarmupConfig(warmup_samples=warmup, start_lr=0.0),
        scaling=make_scaling("legw"), gpus=1,
    )  # fmt: skip
    assert at_one.schedule == LinearWarmup(0.1, warmup // 32, 0.0)


def test_golden_values_of_adam_half_life() -> None:
    rule = make_scaling("adam_half_life").build()
    assert rule.dense == GroupRule(beta2="power") and rule.embeddings is None
    adam = plan_of(optimizer=AdamConfig(beta2=0.99), scaling=make_scaling("adam_half_life"))
    [group] = adam.groups
    assert group.optimizer == AdamConfig(beta2=0.99**16)
    assert adam.schedule == Constant(0.1)


@pytest.mark.parametrize(
    ("lr", "factor"), [("none", 16.0), ("sqrt", 4.0), ("linear", 1.0), (0.25, 8.0)]
)
def test_golden_values_of_adamw_timescale(lr: Any, factor: float) -> None:
    rule = make_scaling({"name": "adamw_timescale", "lr": lr})
    plan = plan_of(optimizer=AdamWConfig(weight_decay=0.01), scaling=rule)
    at_one = plan_of(optimizer=AdamWConfig(weight_decay=0.01), scaling=rule, gpus=1)
    assert plan.groups[0].optimizer.weight_decay == 0.01 * factor

    def timescale(of: Plan) -> float:
        decay = of.schedule.lr(0) * of.groups[0].optimizer.weight_decay
        return of.global_batch / (decay * of.budget_samples)

    assert timescale(plan) == pytest.approx(timescale(at_one), rel=1e-15)


def test_each_group_keeps_its_own_timescale() -> None:
    rule = make_scaling({"name": "adamw_timescale", "lr": "sqrt", "embeddings": {"lr": "none"}})
    dense, embeddings = plan_of(optimizer=AdamWConfig(weight_decay=0.01), scaling=rule).groups
    assert dense.optimizer.weight_decay == 0.04
    assert (embeddings.lr_ratio, embeddings.optimizer.weight_decay) == (0.25, 0.16)


@pytest.mark.parametrize("name", SCALINGS)
@given(beta=st.floats(0.01, 0.9999), rate=st.floats(1e-6, 1e3))
def test_the_same_batch_changes_nothing(name: str, beta: float, rate: float) -> None:
    rule = make_scaling(name).build()
    assert rate * rule.dense.lr_factor(1) == rate
    for key in ("momentum", "beta2", "eps", "weight_decay"):
        assert rule.dense.option_at(key, beta, 1) == beta


@given(beta=st.floats(0.5, 0.999), ratio=st.floats(1, 64))
def test_power_keeps_the_half_life_in_samples(beta: float, ratio: float) -> None:
    def half_life(share: float, samples: float) -> float:
        return samples * math.log(0.5) / math.log(share)

    moved = GroupRule(beta2="power").option_at("beta2", beta, ratio)
    assert half_life(moved, ratio) == pytest.approx(half_life(beta, 1.0))


def test_ratios_of_the_groups() -> None:
    assert ScalingRule().lr_ratios(16) == (1.0,)
    assert EMBEDDINGS_AT_ONE_GPU.build().lr_ratios(16) == (1.0, 0.25)
    assert LinearRule(embeddings=GroupScaling(lr="sqrt")).build().lr_ratios(16) == (1.0, 0.25)


def test_a_decay_stays_between_0_and_1() -> None:
    with pytest.raises(ConfigError, match=r"momentum=0\.9 becomes -0.6 at 16 times the batch") as e:
        GroupRule(momentum="complement").option_at("momentum", 0.9, 16)
    assert "scaling.momentum=power" in e.value.remedy and "below 10 times" in e.value.remedy


# --- What a run makes of them ---


def test_a_fixed_rate_by_a_rule_is_the_schedule_of_that_name_to_the_bit() -> None:
    for base_lr in (0.1, 0.3, 1e-3 / 3):
        for rule, named in (("linear", LinearScalingConfig()), ("sqrt", SqrtScalingConfig())):
            ruled = plan_of(scaling=make_scaling(rule), base_lr=base_lr, gpus=6)
            assert ruled.schedule == plan_of(schedule=named, base_lr=base_lr, gpus=6).schedule
            assert ruled.training == plan_of(schedule=named, base_lr=base_lr, gpus=6).training


def every_schedule() -> list[ScheduleConfig]:
    own_rule = ("linear_scaling", "sqrt_scaling", "scaled", "deepspeed", "range_test", "sequence")
    own_rule += ("custom",)  # (it has no default)
    return [SCHEDULES[name]() for name in SCHEDULES if name not in own_rule]


@pytest.mark.parametrize("schedule", every_schedule(), ids=lambda options: options.name)
def test_the_rule_gives_the_peak_of_any_schedule(schedule: ScheduleConfig) -> None:
    extra = 1.25 if isinstance(schedule, OneCycleConfig) else 1.0
    assert plan_of(schedule=schedule, scaling=SqrtRule()).schedule.peak == extra * 4 * 0.1
    assert plan_of(schedule=schedule, scaling=LinearRule()).schedule.peak == extra * 16 * 0.1
    at_one = {"schedule": schedule, "gpus": 1}
    assert plan_of(scaling=SqrtRule(), **at_one).training == plan_of(**at_one).training


def test_where_a_warmup_starts_and_a_decay_ends_is_not_the_rules() -> None:
    schedule = plan_of(schedule=WSDConfig(), scaling=SqrtRule()).schedule
    assert (schedule.lr(0), schedule.peak, schedule.lr(10**6)) == (0.1, 0.4, 0.01)
    cycle = plan_of(schedule=OneCycleConfig(cycle_min_lr=0.2), scaling=SqrtRule()).schedule
    assert isinstance(cycle, OneCycle) and (cycle.cycle_min_lr, cycle.cycle_max_lr) == (0.2, 0.5)


def test_parts_of_a_sequence_take_their_peaks_from_the_rule() -> None:
    schedule = plan_of(
        schedule=SequenceConfig(), scaling=SqrtRule(), budget_samples=40_960
    ).schedule
    assert max(schedule.lr(step) for step in range(40)) == 0.4


def test_a_schedule_of_the_users_is_given_the_rate_of_the_rule() -> None:
    custom = SCHEDULES["custom"]
    schedule = custom(_target_="bsscale.schedules.Constant", options={"rate": 0.3})
    with pytest.raises(ConfigError, match="no rate that a rule gives"):
        plan_of(schedule=schedule, scaling=SqrtRule())
    decay = custom(_target_="tests.own_parts.Power", options={"steps": 30})
    ruled = plan_of(schedule=decay, scaling=SqrtRule()).schedule
    plain = plan_of(schedule=decay).schedule
    assert ruled.lr(7) == pytest.approx(4 * plain.lr(7), rel=1e-12)


def test_accumulation_is_part_of_the_1_gpu_batch() -> None:
    assert plan_of(grad_accum=2, gpus=4, scaling=SqrtRule()).schedule == Constant(0.2)


def test_options_of_the_optimizer_move_and_the_configuration_stays() -> None:
    adam = AdamConfig(beta1=0.95, beta2=0.999, eps=1e-8)
    plan = plan_of(optimizer=adam, scaling=make_scaling("adam_sde"), gpus=4)
    [group] = plan.groups
    assert isinstance(group.optimizer, AdamConfig)
    assert group.optimizer.beta1 == pytest.approx(0.8)
    assert group.optimizer.beta2 == pytest.approx(0.996)
    assert group.optimizer.eps == pytest.approx(5e-9)
    assert plan.config.optimizer == adam
    assert plan.training["optimizer"] == asdict(group.optimizer)


def test_each_group_has_its_own_options() -> None:
    scaling = CustomRule(lr="sqrt", weight_decay="linear", embeddings=GroupScaling(
        lr="none", weight_decay="none", beta2="power"))  # fmt: skip
    plan = plan_of(optimizer=AdamWConfig(beta2=0.5), scaling=scaling, gpus=4)
    dense, embeddings = plan.groups
    assert (dense.name, embeddings.name) == ("dense", "embeddings")
    assert (dense.lr_ratio, embeddings.lr_ratio) == (1.0, 0.5)
    assert dense.optimizer == AdamWConfig(beta2=0.5, weight_decay=0.04)
    assert embeddings.optimizer == AdamWConfig(beta2=0.0625)
    assert plan.training["embeddings"]["lr_ratio"] == 0.5


def test_a_warmup_grows_in_samples() -> None:
    def length(schedule: ScheduleConfig, scaling: str, gpus: int) -> int:
        scaled = CustomRule(lr="linear", warmup=scaling)
        plan = plan_of(schedule=schedule, scaling=scaled, gpus=gpus, budget_samples=400_000)
        assert isinstance(plan.schedule, LinearWarmup)
        return plan.schedule.warmup_steps * plan.global_batch

    given = LinearWarmupConfig(warmup_samples=1024)
    assert [length(given, rule, 16) for rule in ("none", "sqrt", "linear")] == [1024, 4096, 16384]
    assert length(given, "linear", 1) == 1024
    default = LinearWarmupConfig()
    assert length(default, "sqrt", 4) == pytest.approx(2 * length(default, "none", 4), rel=0.02)


# --- What is refused ---


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (LinearScalingConfig(), "schedule=linear_scaling and the scaling rule would both scale"),
        (SqrtScalingConfig(), "schedule=sqrt_scaling and the scaling rule"),
        (ScaledConfig(factor=4.0), "schedule.factor=4.0 and the scaling rule"),
        (CosineConfig(scaling="linear"), "schedule.scaling=linear and the scaling rule"),
        (OneCycleConfig(scaling="sqrt"), "schedule.scaling=sqrt and the scaling rule"),
        (SequenceConfig(parts=[{"name": "linear_scaling"}]), "part 0 .*schedule=linear_scaling"),
    ],
)
def test_a_rate_does_not_scale_twice(schedule: ScheduleConfig, message: str) -> None:
    refused(message, "scaling=none", schedule=schedule, scaling=SqrtRule())


@pytest.mark.parametrize("gpus", [1, 16])
def test_a_rule_that_does_nothing(gpus: int) -> None:
    explicit = OneCycleConfig(cycle_min_lr=0.1, cycle_max_lr=0.5)
    message = "scaling=sqrt moves the rate, and schedule=onecycle has no rate that a rule gives"
    refused(
        message, "leave the explicit peak out", schedule=explicit, scaling=SqrtRule(), gpus=gpus
    )
    ramp = RangeTestConfig(lr_range_test_min_lr=0.1)
    refused("schedule=range_test has no rate", "scaling.lr=none", schedule=ramp,
            scaling=SqrtRule(), gpus=gpus)  # fmt: skip
    refused(message, "as an exponent", schedule=explicit, scaling=EMBEDDINGS_AT_ONE_GPU, gpus=gpus)
    # The ratio of the groups alone is an exponent.
    ratio = CustomRule(embeddings=GroupScaling(lr=-0.5))
    plan = plan_of(schedule=explicit, scaling=ratio, gpus=16)
    assert plan.schedule.peak == 0.5 and plan.groups[1].lr_ratio == 0.25


def test_embeddings_beside_a_schedule_that_scales_by_itself() -> None:
    scaling = CustomRule(embeddings=GroupScaling(lr=-0.5))
    refused("schedule=linear_scaling moves its rates with gpus itself", "scaling.lr=linear",
            schedule=LinearScalingConfig(), scaling=scaling)  # fmt: skip
    refused("schedule=cosine moves its rates", "schedule.scaling=none",
            schedule=CosineConfig(), scaling=scaling)  # fmt: skip
    assert (
        plan_of(schedule=CosineConfig(scaling="none"), scaling=scaling).groups[1].lr_ratio == 0.25
    )


def test_momentum_that_the_schedule_moves_as_well() -> None:
    scaling = CustomRule(lr="sqrt", momentum="power")
    message = "scaling.momentum=power with schedule=onecycle, which moves the momentum itself"
    refused(message, "cycle_momentum=false", schedule=OneCycleConfig(), scaling=scaling)
    alone = plan_of(schedule=OneCycleConfig(cycle_momentum=False), scaling=scaling)
    assert alone.groups[0].optimizer.momentum_now == 0.9**16


@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        (SGDConfig(), {"beta2": "power"}, "moves beta2 .*optimizer=sgd has no beta2"),
        (SGDConfig(), {"weight_decay": 1}, "optimizer=sgd has weight_decay=0"),
        (SGDConfig(momentum=0.0), {"momentum": "power"}, "optimizer=sgd has momentum=0"),
        (AdagradConfig(), {"momentum": "power"}, "optimizer=adagrad has no momentum"),
        (
            SGDConfig(),
            {"embeddings": GroupScaling(eps=-0.5)},
            "scaling.embeddings.eps=-0.5.*optimizer=sgd has no eps",
        ),
    ],
)
def test_options_that_the_optimizer_does_not_have(
    optimizer: Any, options: dict[str, Any], message: str
) -> None:
    refused(message, "=none, or another optimizer", optimizer=optimizer,
            scaling=CustomRule(**options))  # fmt: skip


def test_a_warmup_that_is_not_there_or_is_counted_in_updates() -> None:
    scaling = CustomRule(warmup="linear")
    refused("scaling.warmup=1 moves the warm-up, and schedule=fixed has none",
            "schedule=linear_warmup", schedule=FixedConfig(), scaling=scaling)  # fmt: skip
    refused("schedule.warmup_steps=5 counts updates of this batch", "warmup_samples",
            schedule=LinearWarmupConfig(warmup_steps=5), scaling=scaling)  # fmt: skip


def test_a_timescale_that_would_not_be_kept() -> None:
    timescale = make_scaling("adamw_timescale")
    for optimizer in (SGDConfig(weight_decay=0.01), AdamConfig(weight_decay=0.01)):
        refused(f"the decay of optimizer={optimizer.name} is not decoupled", "optimizer=adamw",
                optimizer=optimizer, scaling=timescale)  # fmt: skip
    refused("schedule=cosine moves its rates with gpus itself", "schedule.scaling=none",
            optimizer=AdamWConfig(), scaling=timescale, schedule=CosineConfig())  # fmt: skip
    refused("optimizer=adamw has weight_decay=0", "scaling.weight_decay=none",
            optimizer=AdamWConfig(weight_decay=0.0), scaling=timescale)  # fmt: skip
    refused("scaling.warmup=1 moves the warm-up, and schedule=fixed has none",
            "schedule=linear_warmup", scaling=make_scaling("legw"))  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": "timescale"}, "scaling.lr=timescale is not one of its values"),
        ({"lr": "cubic"}, "scaling.lr=cubic is not one of its values"),
        ({"lr": math.inf}, "scaling.lr=inf is not a finite number"),
        ({"beta2": "linear"}, "scaling.beta2=linear is not one of its values"),
        ({"embeddings": GroupScaling(eps="x")}, "scaling.embeddings.eps=x is not one"),
        ({"embeddings": GroupScaling(lr="none")}, "scaling.embeddings.lr=none does nothing"),
        ({"lr": 0.5, "embeddings": GroupScaling(lr="sqrt")}, "embeddings.lr=sqrt does nothing"),
    ],
)
def test_values_that_are_no_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        CustomRule(**options).build()
    assert error.value.remedy


# --- How it is written and shown ---


@pytest.mark.usefixtures("hydra")
def test_the_command_line() -> None:
    config = typed("scaling=sqrt", "scaling.embeddings.lr=none", "gpus=8")
    assert config.scaling == EMBEDDINGS_AT_ONE_GPU
    assert typed("scaling=custom", "scaling.lr=0.75", "scaling.eps=-1").scaling == CustomRule(
        lr=0.75, eps=-1
    )
    assert typed().scaling == make_scaling("none")


@pytest.mark.parametrize(
    "scaling", [*map(make_scaling, SCALINGS), EMBEDDINGS_AT_ONE_GPU], ids=lambda s: s.name
)
def test_a_rule_is_written_down_and_read_again(scaling: Any) -> None:
    assert make_scaling(given_scaling(scaling)) == scaling


def description(**changes: Any) -> str:
    plan, dataset = prepare(small_config(gpus=8, model=MODELS["mlp"], **changes))
    rows = describe_plan(plan, dataset, "arm").splitlines()
    [row] = [row.split(maxsplit=1)[1] for row in rows if row.split()[0] == "scaling"]
    return row


def test_the_plan_says_what_moves() -> None:
    assert description() == "none"
    assert description(schedule=LinearScalingConfig()) == "none; linear, by the schedule"
    assert description(scaling=EMBEDDINGS_AT_ONE_GPU) == "sqrt: rate x 2.828; embeddings: rate x 1"
    sde = description(optimizer=AdamConfig(), scaling=make_scaling("adam_sde"))
    timescale = description(optimizer=AdamWConfig(), scaling=make_scaling("adamw_timescale"))
    assert timescale == "adamw_timescale: weight_decay 0.01 -> 0.08"
    assert sde == (
        "adam_sde: rate x 2.828; beta1 0.9 -> 0.2; beta2 0.999 -> 0.992; eps 1e-08 -> 3.536e-09"
    )


def test_the_record_names_the_rule() -> None:
    names = [
        plan_of(**changes).scaling
        for changes in (
            {"scaling": SqrtRule()}, {}, {"schedule": SqrtScalingConfig()},
            {"schedule": CosineConfig()}, {"schedule": OneCycleConfig()},
        )
    ]  # fmt: skip
    assert names == ["sqrt", "none", "sqrt", "linear", None]


# --- Arms of a study ---


def arms(**given: Any) -> Any:
    baseline = {"role": "baseline", "gpus": 1, "schedule": "fixed"}
    return make_arms(StudyOptions(arms={"one_gpu": baseline, **given}), 8)


def test_an_arm_with_a_rule() -> None:
    rules = {"name": "sqrt", "embeddings": {"lr": "none"}}
    _, plain, grouped = arms(
        plain={"schedule": "fixed", "scaling": "sqrt"},
        grouped={"schedule": {"name": "cosine"}, "scaling": rules},
    )
    assert plain.schedule == FixedConfig() and plain.scaling == SqrtRule()
    assert grouped.scaling == EMBEDDINGS_AT_ONE_GPU
    assert plain.registered().scaling == {"name": "sqrt"}
    assert grouped.registered().scaling == rules


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"schedule": "fixed", "scaling": "cubic"}, "task.arms.x: scaling=cubic is not a rule"),
        ({"schedule": "fixed", "scaling": {"name": "sqrt", "x": 1}}, "unexpected keyword .*'x'"),
        ({"schedule": "onecycle", "preset": True, "scaling": "sqrt"}, "preset=true finds rates"),
        ({"schedule": "onecycle", "rate": "tuned", "scaling": "sqrt"}, "rate=tuned finds the peak"),
    ],
)
def test_arms_whose_rule_cannot_be(arm: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        arms(x=arm)


def test_an_arm_without_a_rule_is_registered_as_before() -> None:
    [one_gpu] = arms()
    assert "scaling" not in msgspec.to_builtins(one_gpu.registered())


def test_another_rule_is_another_arm() -> None:
    rules = (make_scaling("none"), SqrtRule(), EMBEDDINGS_AT_ONE_GPU)
    assert len({arm_hash(asdict(small_config(scaling=rule))) for rule in rules}) == 3
    assert arm_label("fixed", 8, ["schedule=fixed", "gpus=8", "scaling=sqrt", "seed=1"]) == (
        "fixed gpus=8 scaling=sqrt"
    )
