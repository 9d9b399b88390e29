"""DeepSpeed sections as schedules, against traces of DeepSpeed 0.19.8, and back."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bsscale.errors import ConfigError
from bsscale.schedules import (
    Constant,
    Cosine,
    LinearWarmup,
    OneCycle,
    OneCycleTorch,
    RangeTest,
    Schedule,
    WarmupCosineLR,
    WarmupDecayLR,
    WarmupLR,
    from_deepspeed,
    groups_from_deepspeed,
    to_deepspeed,
)

TRACES = Path(__file__).parent / "golden" / "deepspeed_schedules.npz"
TYPES = ("OneCycle", "LRRangeTest", "WarmupLR", "WarmupDecayLR", "WarmupCosineLR")

Values = NDArray[np.float64]


@functools.cache
def recorded() -> list[tuple[dict[str, Any], float, Values, Values | None]]:
    """Section, base_lr, learning rates and momenta; DeepSpeed's tutorial is the first."""
    with np.load(TRACES, allow_pickle=False) as traces:
        sections = json.loads(str(traces["sections"]))
        updates = traces["updates"].tolist()
        rates, momenta = traces["lr"], traces["momentum"]
    result: list[tuple[dict[str, Any], float, Values, Values | None]] = []
    for section, count in zip(sections, updates, strict=True):
        momentum = None
        if section["type"] == "OneCycle":
            momentum, momenta = momenta[:count], momenta[count:]
        base_lr = section.pop("base_lr")
        result.append((section, base_lr, rates[:count], momentum))
        rates = rates[count:]
    assert len(rates) == len(momenta) == 0
    return result


def test_the_recorded_sections_cover_what_they_should() -> None:
    tutorial = recorded()[0][0]["params"]
    assert (tutorial["cycle_min_lr"], tutorial["cycle_max_lr"]) == (1e-4, 1e-3)
    assert tutorial["cycle_first_step_size"] == tutorial["cycle_second_step_size"] == 1000
    assert tutorial["cycle_first_stair_count"] == tutorial["cycle_second_stair_count"] == 500
    assert (tutorial["decay_lr_rate"], tutorial["decay_step_size"]) == (0.001, 1000)
    for name in TYPES:
        assert sum(section["type"] == name for section, *_ in recorded()) >= 200
    random = [
        (section["params"], from_deepspeed(section))
        for section, *_ in recorded()[1:]
        if section["type"] == "OneCycle"
    ]
    cycles = [(params, c) for params, c in random if isinstance(c, OneCycle)]
    for covered in (
        [c for _, c in cycles if c.second_step_size not in (0, c.cycle_first_step_size)],
        [c for _, c in cycles if c.second_step_size == 0],
        [c for _, c in cycles if c.cycle_first_step_size % (c.cycle_first_stair_count or 1)],
        [c for _, c in cycles if c.cycle_first_stair_count > c.cycle_first_step_size],
        [c for _, c in cycles if c.decay_lr_rate > 0],
        [c for _, c in cycles if c.decay_mom_rate > 0],
        [p for p, c in cycles if c.decay_step_size == 0 and p.get("decay_lr_rate", 0) > 0],
        [p for p, _ in cycles if p.get("cycle_first_stair_count") == -1],
        [p for p, _ in cycles if p.get("cycle_second_stair_count") == -5],
    ):
        assert len(covered) >= 20


@pytest.mark.parametrize("name", TYPES)
def test_the_rate_is_deepspeeds_at_every_update(name: str) -> None:
    for section, base_lr, rates, _ in recorded():
        if section["type"] == name:
            schedule = from_deepspeed(section, base_lr)
            peak = rates.max() if schedule.peak is None else schedule.peak
            ours = schedule.lr(np.arange(len(rates)))
            np.testing.assert_allclose(ours, rates, rtol=0, atol=1e-12 * peak, err_msg=str(section))


def test_the_momentum_is_deepspeeds_but_for_step_0_and_the_decay() -> None:
    for section, _, _, momenta in recorded():
        if momenta is None:
            continue
        cycle = from_deepspeed(section)
        assert isinstance(cycle, OneCycle)
        ours = cycle.momentum(np.arange(len(momenta)))
        assert ours is not None
        end = cycle.end_step
        np.testing.assert_allclose(ours[1 : end + 1], momenta[1 : end + 1], rtol=0, atol=1e-12)
        # DeepSpeed starts low, although the rate is low as well.
        assert ours[0] == cycle.cycle_max_mom
        assert momenta[0] == cycle.cycle_min_mom
        # After the cycle DeepSpeed multiplies by what the momentum is divided by here.
        np.testing.assert_allclose(
            ours[end + 1 :] * momenta[end + 1 :], cycle.cycle_max_mom**2, rtol=1e-12
        )


def test_there_and_back() -> None:
    for section, base_lr, _, _ in recorded():
        schedule = from_deepspeed(section, base_lr)
        written = json.loads(json.dumps(to_deepspeed(schedule)))
        assert from_deepspeed(written, base_lr) == schedule
        assert written["type"] == section["type"]


# --- What a section may look like ---

CYCLE: dict[str, Any] = {"cycle_min_lr": 0.1, "cycle_max_lr": 1.0, "cycle_first_step_size": 10}


def section(name: str = "OneCycle", **params: Any) -> dict[str, Any]:
    return {"type": name, "params": params}


def test_a_whole_configuration_or_its_section() -> None:
    own = section(**CYCLE)
    whole = {"train_batch_size": 8, "optimizer": {"type": "Adam"}, "scheduler": own}
    assert from_deepspeed(own) == from_deepspeed(whole) == OneCycle(0.1, 1.0, 10)


def test_what_is_left_out_has_deepspeeds_default() -> None:
    assert from_deepspeed(section(cycle_min_lr=0.1, cycle_max_lr=1)) == OneCycle(0.1, 1.0, 2000)
    assert from_deepspeed(section("LRRangeTest")) == RangeTest(1e-3, 2000, 1.0, False)
    assert from_deepspeed({"type": "WarmupLR"}, 0.2) == WarmupLR(warmup_max_lr=0.2)
    assert from_deepspeed(section("WarmupLR", warmup_max_lr=None), 0.2).peak == 0.2
    assert from_deepspeed(section("WarmupDecayLR", total_num_steps=9)) == WarmupDecayLR(
        total_num_steps=9, warmup_max_lr=0.001
    )
    assert from_deepspeed(section("WarmupCosineLR", total_num_steps=9), 0.2) == WarmupCosineLR(
        total_num_steps=9, base_lr=0.2, warmup_num_steps=1000, cos_min_ratio=0.0001
    )


def test_the_tutorials_other_name_of_the_decay() -> None:
    cycle = from_deepspeed(section(**CYCLE, post_cycle_decay_step_size=7, decay_lr_rate=0.5))
    assert cycle == OneCycle(0.1, 1.0, 10, decay_step_size=7, decay_lr_rate=0.5)
    with pytest.raises(ConfigError, match="are two names of one length"):
        from_deepspeed(section(**CYCLE, post_cycle_decay_step_size=7, decay_step_size=7))


@pytest.mark.parametrize("count", [0, -1, -5])
def test_stairs_of_0_or_less_are_continuous_in_their_own_half(count: int) -> None:
    first = from_deepspeed(
        section(**CYCLE, cycle_first_stair_count=count, cycle_second_stair_count=3)
    )
    assert first == OneCycle(0.1, 1.0, 10, None, 0, 3)
    second = from_deepspeed(
        section(**CYCLE, cycle_first_stair_count=3, cycle_second_stair_count=count)
    )
    assert second == OneCycle(0.1, 1.0, 10, None, 3, 0)


def test_json_may_write_whole_numbers_with_a_point() -> None:
    assert from_deepspeed(section(**(CYCLE | {"cycle_first_step_size": 1e3}))).length == 2000


def test_rates_that_deepspeed_ignores_are_left_out() -> None:
    assert from_deepspeed(section(**CYCLE, decay_lr_rate=0.1)) == OneCycle(0.1, 1.0, 10)
    left_alone = from_deepspeed(
        section(**CYCLE, cycle_momentum=False, decay_step_size=5, decay_mom_rate=0.1)
    )
    assert left_alone == OneCycle(0.1, 1.0, 10, decay_step_size=5, cycle_momentum=False)


def test_a_beginning_is_the_only_place_to_start() -> None:
    assert from_deepspeed(section(**CYCLE, last_batch_iteration=-1)) == OneCycle(0.1, 1.0, 10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (section(**CYCLE, cycle_min_lrs=1), "'cycle_min_lrs' is not known.*did you mean cycle_min"),
        (section("WarmupCosineLR", total_num_steps=9, base_lr=1), "'base_lr' is not known in"),
        (section("WarmupLR", colour=1), "'colour' is not known.*known are warmup_num_steps, "),
        ({"type": "OneCycle", "params": CYCLE, "name": 1}, "'name' is not known.*type, params"),
        (section("Onecycle"), "type of the DeepSpeed scheduler is 'Onecycle'.*'OneCycle' or"),
        ({"train_batch_size": 8}, "there is no scheduler"),
        ({"scheduler": None}, "there is no scheduler"),
        ([], "there is no scheduler"),
        ({"type": "OneCycle", "params": [1]}, r"params is \[1\]"),
        (section(), "OneCycle has no cycle_min_lr and no cycle_max_lr"),
        (section("WarmupDecayLR"), "WarmupDecayLR has no total_num_steps"),
        (section("WarmupLR"), "warms up to the optimizer's learning rate.*give base_lr"),
        (section("WarmupCosineLR", total_num_steps=9), "scales the optimizer.*give base_lr"),
        (section("WarmupLR", warmup_max_lr="auto"), "in the params of WarmupLR: warmup_max"),
        (section("WarmupLR", warmup_max_lr=[1, 2]), "other rates for 2 parameter groups"),
        (section("WarmupLR", warmup_max_lr=1, warmup_type="exp"), "'exp'.*'log' or 'linear'"),
        (section("WarmupLR", warmup_max_lr=1, warmup_min_lr=2), "warmup_min_lr is 2, above"),
        (
            section("WarmupLR", warmup_max_lr=1, warmup_num_steps=-1),
            "num_steps is -1, below",
        ),
        (section(**CYCLE, decay_step_size=1, decay_lr_rate=-1), "decay_lr_rate is -1, below 0"),
        (section(**(CYCLE | {"cycle_first_step_size": 0.5})), "0.5, which is not a whole number"),
        (section(**(CYCLE | {"cycle_min_lr": 2})), "cycle_min_lr is 2, above cycle_max_lr"),
        (section(**CYCLE, cycle_max_mom=1.0), "cycle_max_mom is 1, outside"),
        (section(**CYCLE, last_batch_iteration=7), "last_batch_iteration resumes"),
    ],
)
def test_rejected_sections(wrong: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}") as error:
        from_deepspeed(wrong)
    assert error.value.remedy
    assert str(error.value).isascii()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Constant(0.1), "no schedule like Constant.*leave the section out"),
        (LinearWarmup(0.1, 10), "no schedule like LinearWarmup.*one step later"),
        (Cosine(0.1, 10), "no schedule like Cosine.*it has OneCycle, LRRangeTest"),
        (OneCycleTorch(0.1, 10), "no schedule like OneCycleTorch"),
    ],
)
def test_shapes_that_deepspeed_has_not(schedule: Schedule, message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        to_deepspeed(schedule)


@pytest.mark.parametrize("total", [1, 5, 10])
def test_a_total_within_the_warmup_is_noted(total: int) -> None:
    for schedule in (
        WarmupDecayLR(warmup_max_lr=1.0, warmup_num_steps=10, total_num_steps=total),
        WarmupCosineLR(base_lr=1.0, warmup_num_steps=10, total_num_steps=total),
    ):
        (note,) = schedule.notes()
        assert f"total_num_steps is {total}, not above the warmup's 10 steps" in note
        assert replace(schedule, total_num_steps=11).notes() == ()


# --- Lists: a rate for each parameter group ---


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (OneCycle(0.1, 0.8, 10), {"cycle_min_lr": [0.1, 0.025], "cycle_max_lr": [0.8, 0.2]}),
        (RangeTest(0.1, 5), {"lr_range_test_min_lr": [0.1, 0.025]}),
        (
            WarmupLR(warmup_max_lr=0.4, warmup_min_lr=0.0),
            {"warmup_min_lr": [0.0, 0.0], "warmup_max_lr": [0.4, 0.1]},
        ),
    ],
)
def test_lists_out_and_in(schedule: Schedule, rates: dict[str, list[float]]) -> None:
    written = json.loads(json.dumps(to_deepspeed(schedule, ratios=[1.0, 0.25])))
    assert {key: written["params"][key] for key in rates} == rates
    assert groups_from_deepspeed(written) == (schedule, (1.0, 0.25))
    with pytest.raises(ConfigError, match="other rates for 2 parameter groups") as error:
        from_deepspeed(written)
    assert "scaling.embeddings.lr" in error.value.remedy


def test_lists_that_are_all_alike_are_one_number() -> None:
    params = {
        "cycle_min_lr": [0.1, 0.1], "cycle_max_lr": [0.8, 0.8], "cycle_max_mom": [0.95, 0.95],
    }  # fmt: skip
    section = {"type": "OneCycle", "params": params}
    cycle = OneCycle(0.1, 0.8, 2000, cycle_max_mom=0.95)
    assert from_deepspeed(section) == cycle
    assert groups_from_deepspeed(section) == (cycle, (1.0, 1.0))
    assert groups_from_deepspeed(to_deepspeed(cycle)) == (cycle, (1.0,))


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        (
            "OneCycle",
            {"cycle_min_lr": [0.1, 0.2], "cycle_max_lr": [0.8, 0.8]},
            r"not proportional \(cycle_min_lr=\[0.1, 0.2\] and cycle_max_lr=\[0.8, 0.8\]\)",
        ),
        ("OneCycle", {"cycle_min_lr": 0.1, "cycle_max_lr": [0.8, 0.4]}, "not proportional"),
        ("OneCycle", {"cycle_min_lr": [0.0, 0.1], "cycle_max_lr": [0.8, 0.4]}, "not proportional"),
        ("WarmupLR", {"warmup_min_lr": [0.1, 0.2]}, "not proportional"),
        (
            "OneCycle",
            {"cycle_min_lr": [0.1], "cycle_max_lr": [0.8, 0.4]},
            "not of one length: 1 numbers in cycle_min_lr, 2 numbers in cycle_max_lr",
        ),
        (
            "OneCycle",
            {"cycle_min_lr": 0.1, "cycle_max_lr": 0.8, "cycle_min_mom": [0.8, 0.9]},
            "gives the parameter groups different momenta",
        ),
        ("OneCycle", {"cycle_min_lr": [], "cycle_max_lr": 0.8}, r"cycle_min_lr is \[\]"),
        ("OneCycle", {"cycle_min_lr": ["a"], "cycle_max_lr": 0.8}, r"cycle_min_lr is \['a'\]"),
        ("WarmupLR", {"warmup_num_steps": [5, 5]}, r"warmup_num_steps is \[5, 5\]"),
        ("WarmupCosineLR", {"warmup_min_ratio": [0.1, 0.1]}, "takes lists, of numbers, for none"),
    ],
)
def test_lists_that_are_no_schedule(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        groups_from_deepspeed({"type": name, "params": params}, base_lr=0.1)
    assert error.value.remedy


def test_groups_that_cannot_be_written() -> None:
    cosine = WarmupCosineLR(base_lr=0.1, total_num_steps=100)
    with pytest.raises(ConfigError, match="WarmupCosineLR has no rate to make a list of"):
        to_deepspeed(cosine, ratios=[1.0, 0.5])
    with pytest.raises(ConfigError, match="a group is scaled by 0"):
        to_deepspeed(OneCycle(0.1, 0.8, 10), ratios=[1.0, 0.0])


def test_a_warmup_of_0_steps_is_one_of_2_as_in_deepspeed() -> None:
    none, two = (
        from_deepspeed(section("WarmupLR", warmup_max_lr=1.0, warmup_num_steps=steps))
        for steps in (0, 2)
    )
    assert [none.lr(step) for step in range(5)] == [two.lr(step) for step in range(5)]
