"""Combinations of methods for large batches: each is a plan by the formulas, or refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bsscale.errors import ConfigError
from bsscale.optimizers import OPTIMIZERS, OptimizerConfig
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.schedules.options import SCHEDULES, ScheduleConfig
from bsscale.schedules.options.scaling import SCALINGS, ScalingConfig, given_scaling
from bsscale.study.arms import at_rate, make_arms
from bsscale.study.options import StudyOptions
from tests.helpers import MODELS, small_config

EXPONENTS = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}
# Those whose options have defaults that train.
SHAPES = [name for name in SCHEDULES if name not in ("custom", "deepspeed", "scaled")]

exponents: st.SearchStrategy[Any] = st.sampled_from([*EXPONENTS, 0.75, -0.5])
decays = st.sampled_from(["none", "complement", "power"])


def some(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=strategies)


groups = some(
    lr=exponents | st.just("constant"), momentum=decays, beta2=decays, weight_decay=exponents
)


@st.composite
def rules(draw: st.DrawFn) -> ScalingConfig:
    kind = SCALINGS[draw(st.sampled_from(sorted(SCALINGS)))]
    if kind.name == "none":
        return kind()
    own = draw(some(lr=exponents, weight_decay=exponents | st.just("timescale"), beta2=decays))
    rule: ScalingConfig = kind(**own)
    embeddings = replace(rule.embeddings, **draw(groups | st.just({})))  # type: ignore[attr-defined]
    return replace(rule, embeddings=embeddings)  # type: ignore[call-arg]


@st.composite
def optimizers(draw: st.DrawFn) -> OptimizerConfig:
    optimizer = OPTIMIZERS[draw(st.sampled_from(sorted(OPTIMIZERS)))]()
    return replace(optimizer, weight_decay=draw(st.sampled_from([0.0, 0.01])))


schedules = st.sampled_from(SHAPES).map(lambda name: SCHEDULES[name]())


def planned(**changes: Any) -> Plan | None:
    """The plan; None if it is refused, with a remedy."""
    config = small_config(model=MODELS["mlp"], budget_samples=204_800, **changes)
    try:
        return make_plan(config, 40_000, Devices(cuda=0))
    except ConfigError as error:
        assert error.fact and error.remedy and str(error).isascii()
        return None


def moved(rule: Any, key: str, group: str) -> Any:
    """The option of a rule for a group."""
    own = getattr(rule.embeddings, key) if group == "embeddings" else None
    return getattr(rule, key) if own is None else own


def exponent(value: Any) -> float:
    """(A constant rate is that of 1 GPU.)"""
    return EXPONENTS.get(value, 0.0) if isinstance(value, str) else value


def decayed(beta: float, how: str, ratio: int) -> float:
    return {"none": beta, "power": beta**ratio, "complement": 1 - ratio * (1 - beta)}[how]


clipping = st.sampled_from(
    [{}, {}, {"cowclip": 1.0}, {"cowclip_bound": 1e-4}, {"cowclip": 1.0, "clip_grad_norm": 1.0}]
)


averages = st.sampled_from([None, None, 1, 4096, 10**9])


@settings(max_examples=150)
@given(
    rule=rules(),
    optimizer=optimizers(),
    schedule=schedules,
    clipped=clipping,
    half_life=averages,
    gpus=st.sampled_from([1, 2, 8, 64]),
)
def test_a_combination_is_planned_by_the_formulas_or_refused(
    rule: ScalingConfig,
    optimizer: OptimizerConfig,
    schedule: ScheduleConfig,
    clipped: dict[str, Any],
    half_life: int | None,
    gpus: int,
) -> None:
    plan = planned(
        scaling=rule, optimizer=optimizer, schedule=schedule, gpus=gpus,
        ema_half_life_samples=half_life, **clipped,
    )  # fmt: skip
    if plan is None:
        return
    assert (plan.average is None) is (half_life is None)
    if plan.average is not None:
        assert half_life in (1, 4096)
        decay = 1 - plan.average.weight(1, plan.global_batch)
        assert math.isclose(decay, 2 ** (-plan.global_batch / half_life), abs_tol=1e-15)
    assert clipped in ({}, {"cowclip": 1.0}) and (plan.cowclip is None) is (clipped == {})
    assert plan.config.optimizer == optimizer and plan.config.scaling == rule
    if rule.name == "none":
        assert [group.optimizer for group in plan.groups] == [optimizer]
        return
    for group in plan.groups:
        rate, decay = (moved(rule, key, group.name) for key in ("lr", "weight_decay"))
        if decay == "timescale":
            assert optimizer.name == "adamw"
            decay = 1 - exponent(rate)
        expected = optimizer.weight_decay * gpus ** exponent(decay)
        assert math.isclose(group.optimizer.weight_decay, expected, rel_tol=1e-12)
        ratio = gpus ** (exponent(rate) - exponent(moved(rule, "lr", "dense")))
        if rate == "constant":
            assert (group.name, group.constant_lr) == ("embeddings", plan.base_lr)
        else:
            assert math.isclose(group.lr_ratio, ratio, rel_tol=1e-12)
        if (beta2 := getattr(optimizer, "beta2", None)) is not None:
            found = getattr(group.optimizer, "beta2")  # noqa: B009
            expected = decayed(beta2, moved(rule, "beta2", group.name), gpus)
            assert math.isclose(found, expected, rel_tol=1e-12)


@settings(max_examples=150)
@given(
    rule=rules(),
    optimizer=optimizers(),
    name=st.sampled_from(SHAPES),
    half_life=averages,
    gpus=st.sampled_from([2, 8, 64]),
)
def test_the_rule_of_a_tuned_arm_moves_the_tried_rate_or_the_arm_is_refused(
    rule: ScalingConfig, optimizer: OptimizerConfig, name: str, half_life: int | None, gpus: int
) -> None:
    given_arm = {
        "schedule": name, "scaling": given_scaling(rule), "rate": "tuned",
        "ema_half_life_samples": half_life,
    }  # fmt: skip
    baseline = {"role": "baseline", "gpus": 1, "schedule": "fixed"}
    peaked = SCHEDULES[name]().at_peak(1.0) is not None
    try:
        arm = make_arms(StudyOptions(arms={"one_gpu": baseline, "x": given_arm}), gpus)[1]
    except ConfigError as error:
        assert error.remedy and str(error).isascii()
        assert peaked and rule.name != "none"
        return
    assert arm.scaling == rule and not (peaked and rule.name != "none")

    def tried(rate: float) -> Plan | None:
        schedule, base_lr = at_rate(arm.schedule, rate, 0.5)
        return planned(
            schedule=schedule, base_lr=base_lr, optimizer=optimizer, scaling=arm.scaling,
            gpus=gpus, **arm.own,
        )  # fmt: skip

    plan, twice = tried(0.02), tried(0.04)
    assert (plan is None) is (twice is None)
    if plan is None or twice is None:
        return
    assert plan.base_lr == (0.5 if peaked else 0.02)
    steps = range(0, plan.steps, max(1, plan.steps // 20))
    for step in steps:
        assert math.isclose(twice.schedule.lr(step), 2 * plan.schedule.lr(step), rel_tol=1e-9)
    if name == "fixed":
        expected = 0.02 * gpus ** exponent(getattr(rule, "lr", "none"))
        assert math.isclose(plan.schedule.lr(0), expected, rel_tol=1e-12)
