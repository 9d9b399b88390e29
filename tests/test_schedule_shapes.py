"""The shapes beside OneCycle: golden values, input, properties, and PyTorch's own schedulers."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR

from bsscale.errors import ConfigError
from bsscale.schedules import (
    WSD,
    Constant,
    Cosine,
    ExponentialRangeTest,
    LateDrop,
    Linear,
    LinearWarmup,
    OneCycle,
    OneCycleTorch,
    RangeTest,
    Schedule,
    Sequence,
    WarmupCosineLR,
    WarmupDecayLR,
    WarmupLR,
)

# --- Golden values: start, peak, end, end + 1 ---


def test_linear() -> None:
    down = Linear(0.5, 0.25, 4, 0.75, 0.5)
    assert [down.lr(t) for t in range(6)] == [0.5, 0.4375, 0.375, 0.3125, 0.25, 0.25]
    assert [down.momentum(t) for t in (0, 2, 4, 5)] == [0.75, 0.625, 0.5, 0.5]
    assert (down.length, down.peak) == (4, 0.5)
    assert down.phases() == (("line", 0), ("hold", 4))
    assert Linear(0.0, 1.0, 2).momentum(1) is None


def test_linear_warmup() -> None:
    warmup = LinearWarmup(0.5, 4, 0.25)
    assert [warmup.lr(t) for t in range(6)] == [0.25, 0.3125, 0.375, 0.4375, 0.5, 0.5]
    assert warmup.momentum(0) is None
    assert (warmup.length, warmup.peak) == (4, 0.5)
    assert warmup.phases() == (("warmup", 0), ("hold", 4))


def test_cosine() -> None:
    cosine = Cosine(1.0, 4, 0.5)
    quarter = 0.5 + 0.25 * (1 + math.sqrt(0.5))
    np.testing.assert_allclose(
        [cosine.lr(t) for t in range(6)],
        [1.0, quarter, 0.75, 1.5 - quarter, 0.5, 0.5],
        rtol=1e-15,
    )
    assert (cosine.lr(0), cosine.lr(4)) == (1.0, 0.5)
    assert (cosine.length, cosine.peak) == (4, 1.0)
    assert cosine.phases() == (("decay", 0), ("hold", 4))


def test_wsd() -> None:
    wsd = WSD(1.0, 2, 3, 4, start_lr=0.5, final_lr=0.25)
    #                                    peak              end
    assert [wsd.lr(t) for t in range(11)] == [
        0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 0.8125, 0.625, 0.4375, 0.25, 0.25,
    ]  # fmt: skip
    assert (wsd.length, wsd.peak) == (9, 1.0)
    assert wsd.phases() == (("warmup", 0), ("stable", 2), ("decay", 5), ("hold", 9))
    assert WSD(1.0, 2, 0, 0).phases() == (("warmup", 0), ("hold", 2))
    assert [WSD(1.0, 2, 0, 0).lr(t) for t in range(4)] == [0.0, 0.5, 1.0, 1.0]
    assert [WSD(1.0, 0, 0, 2).lr(t) for t in range(4)] == [1.0, 0.5, 0.0, 0.0]


def test_late_drop() -> None:
    drop = LateDrop(15.0, 4)
    assert [drop.lr(t) for t in range(6)] == [15.0, 15.0, 15.0, 15.0, 0.2, 0.2]
    assert LateDrop(1.0, 1, 4.0).lr(1) == 0.25
    assert drop.momentum(0) is None
    assert (drop.length, drop.peak) == (5, 15.0)
    assert drop.phases() == (("peak", 0), ("drop", 4), ("hold", 5))


def test_range_test() -> None:
    test = RangeTest(0.5, 4, 2.0)
    assert [test.lr(t) for t in range(6)] == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    stairs = dataclasses.replace(test, lr_range_test_staircase=True)
    assert [stairs.lr(t) for t in (0, 3, 4, 7, 8)] == [0.5, 0.5, 1.5, 1.5, 2.5]
    assert (test.length, test.peak, test.phases()) == (0, None, ())


def test_exponential_range_test() -> None:
    test = ExponentialRangeTest(0.001, 10.0, 4)
    ours = [test.lr(t) for t in range(6)]
    np.testing.assert_allclose(ours, [0.001, 0.01, 0.1, 1.0, 10.0, 10.0], rtol=1e-14)
    assert (ours[0], ours[4], ours[5]) == (0.001, 10.0, 10.0)
    assert (test.length, test.peak) == (4, 10.0)
    assert test.phases() == (("growth", 0), ("hold", 4))
    assert ExponentialRangeTest(1e-300, 1e300, 2).lr(1) == pytest.approx(1.0, rel=1e-12)


def test_sequence() -> None:
    joined = Sequence([LinearWarmup(1.0, 2), Constant(0.5), Cosine(1.0, 2)], [3, 2])  # type: ignore[arg-type]
    assert [joined.lr(t) for t in range(9)] == [0.0, 0.5, 1.0, 0.5, 0.5, 1.0, 0.5, 0.0, 0.0]
    assert joined.momentum(4) is None
    assert (joined.length, joined.peak) == (7, 1.0)
    assert joined.phases() == (
        ("warmup", 0), ("hold", 2), ("Constant", 3), ("decay", 5), ("hold", 7),
    )  # fmt: skip
    assert joined.notes() == ()
    assert len({joined, dataclasses.replace(joined, lengths=(3, 3))}) == 2
    assert Sequence((RangeTest(0.1, 5), Constant(0.1)), (10,)).peak is None


def test_a_sequence_says_which_part_is_cut() -> None:
    cut = Sequence((Cosine(1.0, 10), OneCycle(0.1, 1.0, 5, 0, cycle_momentum=False)), (4,))
    first, second = cut.notes()
    assert first == "part 0 (Cosine) takes 10 steps, but is cut after 4"
    assert second.startswith("part 1 (OneCycle): cycle_second_step_size is 0")
    assert cut.phases() == (("decay", 0), ("rise", 4), ("hold", 9))


@dataclasses.dataclass(frozen=True)
class Falling(Schedule):
    """A rate that falls below 0 after two updates."""

    def lr_at(self, step: int) -> float:
        return 1.0 - step


def test_a_sequence_checks_each_part_for_its_own_steps() -> None:
    Falling().check(2)
    Sequence((Falling(), Constant(0.1)), (2,)).check(10**6)
    Sequence((Constant(0.1), Falling()), (10,)).check(12)
    Sequence((Constant(0.1), Falling()), (10,)).check(5)
    for wrong in (
        Sequence((Falling(), Constant(0.1)), (3,)),
        Sequence((Constant(0.1), Falling()), (10,)),
    ):
        with pytest.raises(ConfigError, match="the learning rate is -"):
            wrong.check(100)


def test_a_rate_that_cannot_train_is_found_before() -> None:
    with pytest.raises(ConfigError, match=r"the learning rate is -1\.0 at step 2"):
        Falling().check(3)


def test_torch_onecycle_at_the_edges() -> None:
    cycle = OneCycleTorch(1.0, 10, 0.5, "linear", div_factor=5.0, final_div_factor=2.0)
    # From 0.2 to the peak at step 4, then to 0.1 at step 9, and it stays there.
    np.testing.assert_allclose(
        [cycle.lr(t) for t in (0, 2, 4, 9, 10, 99)], [0.2, 0.6, 1.0, 0.1, 0.1, 0.1], rtol=1e-15
    )
    assert [cycle.momentum(t) for t in (0, 4, 9, 10)] == [0.95, 0.85, 0.95, 0.95]
    assert cycle.phases() == (("rise", 0), ("fall", 5), ("hold", 10))
    three = dataclasses.replace(cycle, pct_start=0.3, three_phase=True)
    assert three.phases() == (("rise", 0), ("fall", 3), ("decay", 5), ("hold", 10))
    np.testing.assert_allclose([three.lr(t) for t in (0, 2, 4, 9)], [0.2, 1.0, 0.2, 0.1])
    assert (cycle.length, cycle.peak) == (10, 1.0)
    assert dataclasses.replace(cycle, cycle_momentum=False).momentum(3) is None


def test_warmups_use_their_first_value_twice() -> None:
    warmup = WarmupLR(warmup_max_lr=1.0, warmup_min_lr=0.5, warmup_num_steps=4)
    line = dataclasses.replace(warmup, warmup_type="linear")
    assert [line.lr(t) for t in range(7)] == [0.5, 0.5, 0.625, 0.75, 0.875, 1.0, 1.0]
    assert [warmup.lr(t) for t in (0, 1, 2, 4, 5)] == [0.5, 0.5, 0.75, 1.0, 1.0]
    assert warmup.phases() == (("warmup", 0), ("hold", 5))
    assert warmup.notes() == ()
    decay = WarmupDecayLR(
        warmup_max_lr=1.0, warmup_num_steps=2, total_num_steps=4, warmup_type="linear"
    )
    assert [decay.lr(t) for t in range(7)] == [0.0, 0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    assert decay.phases() == (("warmup", 0), ("decay", 3), ("hold", 5))
    assert decay.length == 4
    cosine = WarmupCosineLR(base_lr=2.0, warmup_num_steps=2, total_num_steps=4, cos_min_ratio=0.5)
    np.testing.assert_allclose([cosine.lr(t) for t in range(6)], [0, 0, 2, 1.5, 1, 1])
    assert cosine.phases() == (("warmup", 0), ("decay", 3), ("hold", 5))
    assert (cosine.length, cosine.peak) == (4, 2.0)


# --- Input ---

GOOD: dict[type[Schedule], dict[str, Any]] = {
    Linear: {"start_lr": 0.1, "end_lr": 1.0, "steps": 10},
    LinearWarmup: {"peak_lr": 1.0, "warmup_steps": 10},
    Cosine: {"peak_lr": 1.0, "decay_steps": 10},
    WSD: {"peak_lr": 1.0, "warmup_steps": 1, "stable_steps": 1, "decay_steps": 1},
    LateDrop: {"peak_lr": 1.0, "drop_step": 10},
    RangeTest: {"lr_range_test_min_lr": 0.1, "lr_range_test_step_size": 10},
    ExponentialRangeTest: {"min_lr": 0.1, "max_lr": 1.0, "steps": 10},
    Sequence: {"schedules": (Constant(0.1), Constant(0.2)), "lengths": (1,)},
    OneCycleTorch: {"max_lr": 1.0, "total_steps": 10},
    WarmupLR: {"warmup_max_lr": 1.0},
    WarmupDecayLR: {"warmup_max_lr": 1.0, "total_num_steps": 10},
    WarmupCosineLR: {"base_lr": 1.0, "total_num_steps": 10},
}


@pytest.mark.parametrize(
    ("kind", "change", "fact"),
    [
        (Linear, {"start_lr": -1}, "start_lr is -1, below 0"),
        (Linear, {"start_lr": 0, "end_lr": 0}, "start_lr and end_lr are both 0"),
        (Linear, {"steps": 0}, "steps is 0, below 1"),
        (Linear, {"start_momentum": 0.5}, "start_momentum is 0.5 and end_momentum is None"),
        (Linear, {"start_momentum": 0.5, "end_momentum": 1.0}, "end_momentum is 1, outside [0, 1)"),
        (LinearWarmup, {"peak_lr": 0}, "peak_lr is 0"),
        (LinearWarmup, {"start_lr": 2}, "start_lr is 2, above peak_lr, which is 1"),
        (LinearWarmup, {"warmup_steps": 0}, "warmup_steps is 0, below 1"),
        (LinearWarmup, {"warmup_steps": 1.5}, "warmup_steps is 1.5, which is not a whole number"),
        (Cosine, {"final_lr": 2}, "final_lr is 2, above peak_lr"),
        (Cosine, {"decay_steps": 0}, "decay_steps is 0"),
        (WSD, {"start_lr": 2}, "start_lr is 2, above peak_lr"),
        (WSD, {"final_lr": 2}, "final_lr is 2, above peak_lr"),
        (WSD, {"stable_steps": -1}, "stable_steps is -1, below 0"),
        (WSD, {"warmup_steps": 0, "decay_steps": 0}, "warmup_steps and decay_steps are both 0"),
        (LateDrop, {"peak_lr": 0}, "peak_lr is 0"),
        (LateDrop, {"drop_step": 0}, "drop_step is 0, below 1"),
        (LateDrop, {"divisor": 1.0}, "divisor is 1, which is no drop"),
        (LateDrop, {"divisor": math.inf}, "divisor is inf"),
        (RangeTest, {"lr_range_test_min_lr": 0}, "lr_range_test_min_lr is 0"),
        (RangeTest, {"lr_range_test_step_size": 0}, "lr_range_test_step_size is 0"),
        (RangeTest, {"lr_range_test_step_rate": 0}, "lr_range_test_step_rate is 0"),
        (RangeTest, {"lr_range_test_step_rate": -1}, "lr_range_test_step_rate is -1"),
        (RangeTest, {"lr_range_test_staircase": "no"}, "lr_range_test_staircase is 'no'"),
        (ExponentialRangeTest, {"min_lr": 0}, "min_lr is 0"),
        (ExponentialRangeTest, {"min_lr": 1.0}, "min_lr is 1, not below max_lr, which is 1"),
        (Sequence, {"schedules": (Constant(0.1), 0.5)}, "part 1 of the sequence is 0.5, not a"),
        (Sequence, {"schedules": (Constant(0.1),)}, "the sequence has 1 part"),
        (Sequence, {"lengths": (1, 2)}, "the sequence has 2 parts and 2 lengths"),
        (Sequence, {"lengths": (0,)}, "the length of part 0 is 0, below 1"),
        (
            Sequence,
            {"schedules": (Constant(0.1), OneCycle(0.1, 1.0, 5))},
            "part 1 of the sequence (OneCycle) sets the momentum, but part 0 (Constant) does not",
        ),
        (OneCycleTorch, {"max_lr": 0}, "max_lr is 0"),
        (OneCycleTorch, {"total_steps": 0}, "total_steps is 0"),
        (OneCycleTorch, {"pct_start": 1.5}, "pct_start is 1.5, outside 0 to 1"),
        (OneCycleTorch, {"pct_start": 0.1}, "pct_start is 0.1 of total_steps, 10: one step to"),
        (OneCycleTorch, {"three_phase": 1}, "three_phase is 1"),
        (OneCycleTorch, {"anneal_strategy": "exp"}, "anneal_strategy is 'exp'"),
        (OneCycleTorch, {"max_momentum": 1.0}, "max_momentum is 1, outside [0, 1)"),
        (OneCycleTorch, {"base_momentum": 0.96}, "base_momentum is 0.96, above max_momentum"),
        (OneCycleTorch, {"div_factor": 0.5}, "div_factor is 0.5, below 1"),
        (OneCycleTorch, {"final_div_factor": 0}, "final_div_factor is 0"),
        (OneCycleTorch, {"final_div_factor": 0.01}, "final_div_factor is 0.01, which does not end"),
        (WarmupLR, {"warmup_min_lr": 2}, "warmup_min_lr is 2, above warmup_max_lr"),
        (WarmupDecayLR, {"total_num_steps": 0}, "total_num_steps is 0, below 1"),
        (WarmupCosineLR, {"cos_min_ratio": 1.5}, "cos_min_ratio is 1.5, above the whole"),
        (WarmupCosineLR, {"warmup_min_ratio": -0.5}, "warmup_min_ratio is -0.5, below 0"),
    ],
)
def test_rejected_settings_say_the_value_and_the_remedy(
    kind: type[Schedule], change: dict[str, Any], fact: str
) -> None:
    kind(**GOOD[kind])
    with pytest.raises(ConfigError) as error:
        kind(**(GOOD[kind] | change))
    assert error.value.fact.startswith(fact)
    assert error.value.remedy
    assert str(error.value).isascii()


# --- Properties of every shape ---

rates = st.floats(1e-9, 1e6)
counts = st.integers(1, 80)
momenta = st.floats(0, 1, exclude_max=True)
fractions = st.floats(0, 1)


@st.composite
def two_sorted(draw: st.DrawFn, values: st.SearchStrategy[float]) -> tuple[float, float]:
    low, high = sorted((draw(values), draw(values)))
    return low, high


@st.composite
def linears(draw: st.DrawFn) -> Linear:
    pair = draw(st.sampled_from([(None, None), (draw(momenta), draw(momenta))]))
    return Linear(draw(rates), draw(rates), draw(counts), *pair)


@st.composite
def warmups(draw: st.DrawFn) -> LinearWarmup:
    low, high = draw(two_sorted(rates))
    return LinearWarmup(high, draw(counts), low)


@st.composite
def cosines(draw: st.DrawFn) -> Cosine:
    low, high = draw(two_sorted(rates))
    return Cosine(high, draw(counts), low)


@st.composite
def wsds(draw: st.DrawFn) -> WSD:
    peak = draw(rates)
    warmup, stable, decay = draw(counts), draw(st.integers(0, 50)), draw(st.integers(0, 50))
    return WSD(peak, warmup, stable, decay, peak * draw(fractions), peak * draw(fractions))


@st.composite
def late_drops(draw: st.DrawFn) -> LateDrop:
    return LateDrop(draw(rates), draw(counts), draw(st.floats(1, 1e6, exclude_min=True)))


@st.composite
def range_tests(draw: st.DrawFn) -> Schedule:
    if draw(st.booleans()):
        return RangeTest(draw(rates), draw(counts), draw(st.floats(1e-3, 1e3)), draw(st.booleans()))
    low, high = draw(two_sorted(rates).filter(lambda pair: pair[0] < pair[1]))
    return ExponentialRangeTest(low, high, draw(counts))


@st.composite
def torch_cycles(draw: st.DrawFn) -> OneCycleTorch:
    steps = draw(counts)
    base, high = draw(two_sorted(momenta))
    return OneCycleTorch(
        draw(rates),
        steps,
        draw(fractions.filter(lambda pct: pct * steps != 1)),
        draw(st.sampled_from(["cos", "linear"])),
        base_momentum=base,
        max_momentum=high,
        div_factor=draw(st.floats(1, 1e3)),
        final_div_factor=draw(st.floats(1, 1e6)),
        three_phase=draw(st.booleans()),
    )


@st.composite
def deepspeed_warmups(draw: st.DrawFn) -> Schedule:
    low, high = draw(two_sorted(rates))
    steps, kind = draw(counts), draw(st.sampled_from(["log", "linear"]))
    total = draw(st.integers(1, 150))
    warmup: dict[str, Any] = {"warmup_num_steps": steps, "warmup_type": kind}
    match draw(st.integers(0, 2)):
        case 0:
            return WarmupLR(warmup_max_lr=high, warmup_min_lr=low, **warmup)
        case 1:
            return WarmupDecayLR(
                warmup_max_lr=high, warmup_min_lr=low, total_num_steps=total, **warmup
            )
        case _:
            return WarmupCosineLR(
                base_lr=high,
                total_num_steps=total,
                warmup_min_ratio=draw(fractions),
                cos_min_ratio=draw(fractions),
                **warmup,
            )


def without_momentum(parts: list[Schedule]) -> bool:
    return len({part.momentum(0) is None for part in parts}) == 1


simple = st.one_of(
    rates.map(Constant), linears(), warmups(), cosines(), wsds(), range_tests(), torch_cycles(),
    deepspeed_warmups(), late_drops(),
)  # fmt: skip
sequences = (
    st.lists(simple, min_size=2, max_size=4)
    .filter(without_momentum)
    .flatmap(
        lambda parts: st.builds(
            Sequence,
            st.just(tuple(parts)),
            st.tuples(*[counts for _ in parts[1:]]),
        )
    )
)
every = st.one_of(simple, sequences)


def values(schedule: Schedule) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    steps = np.arange(schedule.length + 40)
    return schedule.lr(steps), schedule.momentum(steps)


@given(every)
def test_rates_and_momenta_stay_within_their_bounds(schedule: Schedule) -> None:
    lrs, own_momenta = values(schedule)
    assert np.all(np.isfinite(lrs))
    assert np.all(lrs >= 0)
    if schedule.peak is not None:
        assert np.all(lrs <= schedule.peak)
    if own_momenta is not None:
        assert np.all((own_momenta >= 0) & (own_momenta < 1))
    schedule.check(len(lrs))


@given(every, st.lists(st.integers(0, 2**62), max_size=20))
def test_an_array_gives_the_same_bits_as_its_integers(schedule: Schedule, steps: list[int]) -> None:
    array = np.array([*steps, *range(30)], dtype=np.int64)
    assert schedule.lr(array).tolist() == [schedule.lr(t) for t in array.tolist()]
    own = schedule.momentum(array)
    singly = [schedule.momentum(t) for t in array.tolist()]
    assert singly == ([None] * len(array) if own is None else own.tolist())


@given(every, st.permutations(range(30)))
def test_a_schedule_is_a_pure_and_immutable_value(schedule: Schedule, order: list[int]) -> None:
    expected = dict(enumerate(schedule.lr(np.arange(30)).tolist()))
    assert {t: schedule.lr(t) for t in order} == expected
    assert isinstance(schedule.lr(0), float)
    copy = dataclasses.replace(schedule)  # type: ignore[type-var]
    assert copy == schedule
    assert hash(copy) == hash(schedule)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.length = 1  # type: ignore[misc]
    first = dataclasses.fields(schedule)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, first, 1.0)


@given(st.one_of(simple, sequences))
def test_phases_are_in_order_from_0(schedule: Schedule) -> None:
    firsts = [first for _, first in schedule.phases()]
    assert firsts == sorted(set(firsts))
    assert firsts[:1] in ([], [0])


def rises(lrs: NDArray[np.float64]) -> bool:
    return bool(np.all(np.diff(lrs) >= 0))


@given(st.one_of(warmups(), range_tests()))
def test_what_only_goes_up(schedule: Schedule) -> None:
    assert rises(values(schedule)[0])


@given(cosines())
def test_a_cosine_only_goes_down(cosine: Cosine) -> None:
    # The library's cosine may be a bit off either way.
    assert np.all(np.diff(values(cosine)[0]) <= 1e-15 * cosine.peak)


@given(wsds())
def test_wsd_is_monotone_in_each_half(wsd: WSD) -> None:
    lrs, _ = values(wsd)
    assert rises(lrs[: wsd.warmup_steps + wsd.stable_steps + 1])
    assert rises(-lrs[wsd.warmup_steps :])


@given(torch_cycles().filter(lambda cycle: not cycle.three_phase))
def test_a_torch_cycle_is_monotone_in_each_half_and_momentum_opposes(cycle: OneCycleTorch) -> None:
    lrs, own = values(cycle)
    assert own is not None
    top = max(0, math.floor(cycle.pct_start * cycle.total_steps - 1))
    for half, sign in ((slice(0, top + 1), 1), (slice(top + 1, None), -1)):
        assert np.all(sign * np.diff(lrs[half]) >= -1e-14 * cycle.peak)
        assert np.all(sign * np.diff(own[half]) <= 1e-14)


@given(deepspeed_warmups())
def test_a_deepspeed_warmup_rises_and_then_does_not(schedule: Schedule) -> None:
    lrs, _ = values(schedule)
    (_, _), (_, top), *_ = schedule.phases()
    assert rises(lrs[:top])
    assert np.all(np.diff(lrs[top:]) <= 1e-15 * max(lrs))


# --- PyTorch ---


def traced(scheduler: LRScheduler, steps: int) -> tuple[list[float], list[float]]:
    """Learning rate and momentum that the optimizer holds at each update."""
    (group,) = scheduler.optimizer.param_groups
    lrs, own = [], []
    for step in range(steps):
        if step:
            scheduler.optimizer.step()
            scheduler.step()
        lrs.append(float(group["lr"]))
        own.append(group["betas"][0] if "betas" in group else group["momentum"])
    return lrs, own


def make_optimizer(rng: random.Random) -> torch.optim.Optimizer:
    parameters = [torch.zeros(1, requires_grad=True)]
    if rng.random() < 0.5:
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    return torch.optim.AdamW(parameters, lr=0.1)


def assert_equal(schedule: Schedule, scheduler: LRScheduler, steps: int, peak: float) -> None:
    lrs, own = traced(scheduler, steps)
    ours = schedule.momentum(np.arange(steps))
    assert ours is not None
    np.testing.assert_allclose(
        schedule.lr(np.arange(steps)), lrs, rtol=0, atol=1e-12 * peak, err_msg=str(schedule)
    )
    np.testing.assert_allclose(ours, own, rtol=0, atol=1e-12, err_msg=str(schedule))


@pytest.mark.parametrize("seed", range(300))
def test_onecycle_torch_is_onecyclelr_at_every_step(seed: int) -> None:
    rng = random.Random(seed)
    steps = rng.choice([2, 3, rng.randint(4, 20), rng.randint(20, 120)])
    settings: dict[str, Any] = {
        "max_lr": 10 ** rng.uniform(-6, 1),
        "total_steps": steps,
        "pct_start": rng.choice([0.0, 1.0, 0.3, 0.5, rng.random(), rng.random(), rng.random()]),
        "anneal_strategy": rng.choice(["cos", "linear"]),
        "base_momentum": rng.uniform(0.0, 0.9),
        "max_momentum": rng.uniform(0.9, 0.999),
        "div_factor": rng.choice([1.0, 25.0, rng.uniform(1, 100)]),
        "final_div_factor": rng.choice([1.0, 1e4, 10 ** rng.uniform(0, 6)]),
        "three_phase": rng.random() < 0.5,
    }
    if settings["pct_start"] * steps == 1:  # OneCycleLR divides by 0
        settings["pct_start"] = 0.9
    theirs = OneCycleLR(make_optimizer(rng), **settings)
    assert_equal(OneCycleTorch(**settings), theirs, steps, settings["max_lr"])


def test_the_defaults_are_onecyclelrs() -> None:
    theirs = OneCycleLR(make_optimizer(random.Random(0)), 0.5, 100)
    assert_equal(OneCycleTorch(0.5, 100), theirs, 100, 0.5)


@pytest.mark.parametrize("seed", range(200))
def test_a_triangular_sequence_is_cyclic_lrs_first_cycle(seed: int) -> None:
    rng = random.Random(seed)
    up, down = rng.randint(1, 60), rng.randint(1, 60)
    low, high = sorted(10 ** rng.uniform(-6, 1) for _ in range(2))
    slow, fast = sorted(rng.uniform(0, 0.99) for _ in range(2))
    triangle = Sequence(
        (Linear(low, high, up, fast, slow), Linear(high, low, down, slow, fast)), (up,)
    )
    theirs = CyclicLR(
        make_optimizer(rng), low, high, up, down, base_momentum=slow, max_momentum=fast
    )
    assert_equal(triangle, theirs, up + down + 1, high)
