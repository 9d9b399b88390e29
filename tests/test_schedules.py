"""What every schedule is, and Constant and OneCycle: golden values, input, properties."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import math
import pkgutil
import subprocess
import sys
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsscale import schedules
from bsscale.errors import ConfigError
from bsscale.schedules import Constant, OneCycle, Schedule
from bsscale.schedules.fields import Integer, PeakRate

# --- Golden values ---


def test_constant() -> None:
    schedule = Constant(0.1)
    assert [schedule.lr(t) for t in (0, 1, 10**9)] == [0.1, 0.1, 0.1]
    assert schedule.momentum(0) is None
    assert schedule.momentum(np.arange(3)) is None
    assert schedule.phases() == ()
    assert schedule.notes() == ()


def test_onecycle_at_the_edges() -> None:
    cycle = OneCycle(
        1.0, 3.0, 4, 2, decay_step_size=10, decay_lr_rate=0.5,
        cycle_min_mom=0.5, cycle_max_mom=0.75, decay_mom_rate=0.25,
    )  # fmt: skip
    # update:        0    1    2    3    4 (peak)  5   6 (end)
    assert [cycle.lr(t) for t in range(7)] == [1.0, 1.5, 2.0, 2.5, 3.0, 2.0, 1.0]
    assert [cycle.momentum(t) for t in range(7)] == [
        0.75, 0.6875, 0.625, 0.5625, 0.5, 0.625, 0.75,
    ]  # fmt: skip
    # Then the decay: at end + 10 one decay_step_size has passed.
    assert cycle.lr(7) == 1.0 / 1.05
    assert cycle.lr(16) == 1.0 / 1.5
    assert cycle.lr(26) == 1.0 / 2.0
    assert cycle.momentum(16) == 0.75 / 1.25
    assert cycle.phases() == (("rise", 0), ("fall", 4), ("decay", 7))
    assert cycle.end_step == 6


def test_onecycle_without_decay_holds_its_minimum() -> None:
    cycle = OneCycle(1.0, 3.0, 2)
    assert [cycle.lr(t) for t in (4, 5, 6, 10**12)] == [1.0] * 4
    assert [cycle.momentum(t) for t in (4, 5, 6, 10**12)] == [0.9] * 4
    assert cycle.phases() == (("rise", 0), ("fall", 2), ("hold", 5))


def test_onecycle_stairs() -> None:
    cycle = OneCycle(0.0, 1.0, 6, 4, cycle_first_stair_count=3, cycle_second_stair_count=2)
    first = [0, 0, 1 / 3, 1 / 3, 2 / 3, 2 / 3]
    assert [cycle.lr(t) for t in range(11)] == [*first, 1, 0.5, 0.5, 0, 0]
    assert cycle.levels() == (3, 2)


def test_onecycle_stairs_that_do_not_divide_the_half() -> None:
    cycle = OneCycle(0.0, 1.0, 5, 5, cycle_first_stair_count=2)
    assert [cycle.lr(t) for t in range(11)] == [0, 0, 0, 0.5, 0.5, 1, 0.5, 0.5, 0, 0, 0]
    assert cycle.second_stair_count == 2


def test_no_stair_is_lost_to_rounding() -> None:
    # 50 * (29 / 50) is 28.999...: a floor of floats would repeat stair 28.
    assert math.floor(50 * (29 / 50)) == 28
    cycle = OneCycle(0.0, 50.0, 50, cycle_first_stair_count=50)
    np.testing.assert_allclose(cycle.lr(np.arange(51)), np.arange(51), rtol=1e-15)


def test_onecycle_without_a_falling_half() -> None:
    cycle = OneCycle(1.0, 3.0, 4, 0, cycle_first_stair_count=2)
    assert [cycle.lr(t) for t in range(6)] == [1, 1, 2, 2, 1, 1]
    assert [cycle.momentum(t) for t in (0, 3, 4, 5)] == [0.9, 0.9 - (0.9 - 0.8) / 2, 0.9, 0.9]
    assert cycle.levels() == (2, 0)
    assert cycle.phases() == (("rise", 0), ("hold", 4))
    (note,) = cycle.notes()
    assert "cycle_second_step_size is 0" in note
    assert "rises to 2 at most" in note


def test_the_tutorials_cycle_has_501_levels_up_and_500_down() -> None:
    cycle = OneCycle(1e-4, 1e-3, 1000, 1000, 500, 500, 1000, 0.001)
    assert len(set(cycle.lr(np.arange(0, 1001)).tolist())) == 501
    assert len(set(cycle.lr(np.arange(1001, 2001)).tolist())) == 500
    assert cycle.levels() == (500, 500)
    assert cycle.lr(1000) == 1e-3
    assert cycle.lr(2000) == cycle.lr(0) == 1e-4
    assert cycle.notes() == ()


def test_the_peak_is_exactly_the_configured_maximum() -> None:
    # min + (max - min) is not max here, and max - (max - min) not min.
    assert 0.2 + (0.9 - 0.2) != 0.9
    assert 0.4 - (0.4 - 0.1) != 0.1
    assert OneCycle(0.2, 0.9, 3).lr(3) == 0.9
    assert OneCycle(0.0, 1.0, 3, cycle_min_mom=0.1, cycle_max_mom=0.4).momentum(3) == 0.1


def test_momentum_can_be_left_alone() -> None:
    cycle = OneCycle(1.0, 3.0, 4, cycle_momentum=False)
    assert cycle.momentum(0) is None
    assert cycle.momentum(np.arange(9)) is None


def test_notes_name_stairs_that_are_lost() -> None:
    cycle = OneCycle(0.1, 1.0, 100, 50, cycle_first_stair_count=500)
    first, second = cycle.notes()
    assert first == (
        "cycle_first_stair_count is 500, but the rising half has 100 steps: "
        "100 of its stairs remain"
    )
    assert second.startswith("cycle_second_stair_count is 500, but the falling half has 50 steps")
    assert cycle.levels() == (100, 50)
    assert OneCycle(0.1, 1.0, 100, 50, 100, 50).notes() == ()


def test_notes_name_stairs_of_a_half_that_does_not_exist() -> None:
    lost, _ = OneCycle(0.1, 1.0, 4, 0, cycle_second_stair_count=3).notes()
    assert lost.endswith("none of its stairs remain")


# --- Input ---


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"cycle_min_lr": 2.0}, "cycle_min_lr is 2, above cycle_max_lr, which is 1"),
        ({"cycle_min_lr": -0.1}, "cycle_min_lr is -0.1, below 0"),
        ({"cycle_min_lr": 0.0, "cycle_max_lr": 0.0}, "cycle_max_lr is 0"),
        ({"cycle_max_lr": math.inf}, "cycle_max_lr is inf"),
        ({"cycle_min_lr": math.nan}, "cycle_min_lr is nan"),
        ({"cycle_max_lr": "1e-3"}, "cycle_max_lr is '1e-3', which is not a number"),
        ({"cycle_max_lr": None}, "cycle_max_lr is None"),
        ({"cycle_first_step_size": 0}, "cycle_first_step_size is 0, below 1"),
        ({"cycle_first_step_size": 10.5}, "cycle_first_step_size is 10.5, which is not a whole"),
        ({"cycle_first_step_size": True}, "cycle_first_step_size is True"),
        ({"cycle_second_step_size": -1}, "cycle_second_step_size is -1, below 0"),
        ({"cycle_first_stair_count": -1}, "cycle_first_stair_count is -1, below 0"),
        ({"cycle_second_stair_count": -1}, "cycle_second_stair_count is -1, below 0"),
        ({"decay_step_size": -1}, "decay_step_size is -1, below 0"),
        ({"decay_step_size": 10, "decay_lr_rate": -0.1}, "decay_lr_rate is -0.1, below 0"),
        ({"decay_step_size": 10, "decay_mom_rate": -0.1}, "decay_mom_rate is -0.1, below 0"),
        ({"decay_lr_rate": 0.1}, "decay_lr_rate is 0.1, but decay_step_size is 0"),
        ({"decay_mom_rate": 0.1}, "decay_mom_rate is 0.1, but decay_step_size is 0"),
        (
            {"decay_step_size": 10, "decay_mom_rate": 0.1, "cycle_momentum": False},
            "decay_mom_rate is 0.1, but cycle_momentum is false",
        ),
        ({"cycle_momentum": "no"}, "cycle_momentum is 'no'"),
        ({"cycle_max_mom": 1.0}, "cycle_max_mom is 1, outside [0, 1)"),
        ({"cycle_min_mom": -0.1}, "cycle_min_mom is -0.1, outside [0, 1)"),
        ({"cycle_min_mom": 0.95}, "cycle_min_mom is 0.95, above cycle_max_mom, which is 0.9"),
    ],
)
def test_rejected_settings_say_the_value_and_the_remedy(change: dict[str, Any], fact: str) -> None:
    good: dict[str, Any] = {"cycle_min_lr": 0.1, "cycle_max_lr": 1.0, "cycle_first_step_size": 10}
    with pytest.raises(ConfigError) as error:
        OneCycle(**(good | change))
    assert error.value.fact.startswith(fact)
    assert error.value.remedy
    assert str(error.value).isascii()


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan, "0.1"])
def test_a_constant_rate_is_a_positive_number(rate: Any) -> None:
    with pytest.raises(ConfigError, match="rate is "):
        Constant(rate)


def test_steps_are_integers_from_0() -> None:
    schedule = Constant(0.1)
    for negative in (-1, np.array([0, -1])):
        with pytest.raises(ValueError, match="step is -1"):
            schedule.lr(negative)
    fractions: tuple[Any, ...] = (1.0, np.array([1.0]))
    for fraction in fractions:
        with pytest.raises(TypeError):
            schedule.lr(fraction)


def test_a_schedule_is_an_immutable_value() -> None:
    cycle = OneCycle(0.1, 1.0, 10)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cycle.cycle_max_lr = 2.0  # type: ignore[misc]
    assert cycle == OneCycle(0.1, 1.0, 10)
    assert len({cycle, OneCycle(0.1, 1.0, 10), OneCycle(0.1, 1.0, 11)}) == 2
    longer = dataclasses.replace(cycle, cycle_first_step_size=20)
    assert longer.end_step == 40  # the second half still follows the first


def test_numpy_settings_and_steps_give_plain_floats() -> None:
    cycle = OneCycle(np.float32(0.5), 1, np.int64(10), np.int32(4))  # type: ignore[arg-type]
    assert cycle == OneCycle(0.5, 1.0, 10, 4)
    for step in (3, np.int64(3), np.uint8(3)):
        assert type(cycle.lr(step)) is float
        assert type(cycle.momentum(step)) is float


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_an_array_keeps_its_shape(shape: tuple[int, ...]) -> None:
    cycle = OneCycle(0.1, 1.0, 10)
    momentum = cycle.momentum(np.ones(shape, dtype=np.uint8))
    assert momentum is not None
    for values in (cycle.lr(np.ones(shape, dtype=np.uint8)), momentum):
        assert isinstance(values, np.ndarray)
        assert values.shape == shape
        assert values.dtype == np.float64


def test_a_schedule_of_ones_own_needs_one_method() -> None:
    @dataclasses.dataclass(frozen=True)
    class Halving(Schedule):
        rate: float

        def lr_at(self, step: int) -> float:
            return self.rate * 0.5**step

    assert Halving(1.0).lr(np.arange(3)).tolist() == [1.0, 0.5, 0.25]
    assert Halving(1.0).momentum(0) is None


def test_a_schedule_of_ones_own_may_declare_rules_of_its_fields() -> None:
    @dataclasses.dataclass(frozen=True)
    class Halving(Schedule):
        rate: float
        every: int | None = None

        def lr_at(self, step: int) -> float:
            return self.rate * 0.5 ** (step // (self.every or 1))

    # As in a module without "from __future__ import annotations".
    rate, every = dataclasses.fields(Halving)
    rate.type = Annotated[PeakRate, "any other metadata"]
    every.type = Annotated[int, Integer(2, "give every=2 or more")] | None
    assert type(Halving(np.float32(1.0)).rate) is float  # type: ignore[arg-type]
    assert Halving(1.0, every=np.int64(2)).lr(3) == 0.5  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="rate is 0, and a peak of 0 or less trains nothing"):
        Halving(0.0)
    with pytest.raises(ConfigError, match="every is 1, below 2") as error:
        Halving(1.0, 1)
    assert error.value.remedy == "give every=2 or more"


# --- Properties ---


@st.composite
def cycles(draw: st.DrawFn) -> OneCycle:
    rate = st.floats(0, 1e6)
    momentum = st.floats(0, 1, exclude_max=True)
    decay = st.integers(0, 50)
    low, high = sorted((draw(rate), draw(rate.filter(bool))))
    low_momentum, high_momentum = sorted((draw(momentum), draw(momentum)))
    size = draw(decay)
    return OneCycle(
        low,
        high,
        draw(st.integers(1, 80)),
        draw(st.none() | st.integers(0, 80)),
        draw(st.integers(0, 120)),
        draw(st.none() | st.integers(0, 120)),
        decay_step_size=size,
        decay_lr_rate=draw(st.floats(0, 1e3)) if size else 0.0,
        cycle_min_mom=low_momentum,
        cycle_max_mom=high_momentum,
        decay_mom_rate=draw(st.floats(0, 1e3)) if size else 0.0,
    )


def both(cycle: OneCycle) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Learning rate and momentum over the cycle and a while after it."""
    steps = np.arange(cycle.end_step + 60)
    momentum = cycle.momentum(steps)
    assert momentum is not None
    return cycle.lr(steps), momentum


@given(cycles())
def test_values_stay_within_their_bounds(cycle: OneCycle) -> None:
    rates, momenta = both(cycle)
    end = cycle.end_step
    assert np.all(cycle.cycle_min_lr <= rates[: end + 1])
    assert np.all(rates <= cycle.cycle_max_lr)
    assert np.all(rates >= 0)
    assert np.all(cycle.cycle_min_mom <= momenta[: end + 1])
    assert np.all(momenta <= cycle.cycle_max_mom)
    assert np.all((momenta >= 0) & (momenta < 1))


@given(cycles())
def test_halves_and_decay_are_monotone_and_momentum_opposes(cycle: OneCycle) -> None:
    rates, momenta = both(cycle)
    a, b = cycle.cycle_first_step_size, cycle.second_step_size
    rise = slice(0, a + 1 if b else a)
    fall = slice(a, None)  # into and through the decay
    assert np.all(np.diff(rates[rise]) >= 0)
    assert np.all(np.diff(rates[fall]) <= 0)
    assert np.all(np.diff(momenta[rise]) <= 0)
    assert np.all(np.diff(momenta[a : a + b + 1]) >= 0)
    assert np.all(np.diff(momenta[a + b :]) <= 0)


@given(cycles())
def test_the_cycle_starts_and_ends_at_its_minimum_and_peaks_once(cycle: OneCycle) -> None:
    rates, momenta = both(cycle)
    a, end = cycle.cycle_first_step_size, cycle.end_step
    assert rates[0] == rates[end] == cycle.cycle_min_lr
    assert momenta[0] == momenta[end] == cycle.cycle_max_mom
    if cycle.second_step_size:
        assert rates[a] == cycle.cycle_max_lr
        assert momenta[a] == cycle.cycle_min_mom


@given(cycles())
def test_a_half_has_at_most_its_levels_apart_from_the_peak(cycle: OneCycle) -> None:
    # Heights rather than rates: rates so close that they round to the same number are no stairs.
    unit = dataclasses.replace(cycle, cycle_min_lr=0.0, cycle_max_lr=1.0)
    a, end = unit.cycle_first_step_size, unit.end_step
    rising = set(unit.lr(np.arange(a)).tolist())
    falling = set(unit.lr(np.arange(a + 1, end + 1)).tolist())
    assert (len(rising), len(falling)) == unit.levels()
    for levels, stairs in (
        (rising, unit.cycle_first_stair_count),
        (falling, unit.second_stair_count),
    ):
        assert not stairs or len(levels) <= stairs


@given(cycles(), st.lists(st.integers(0, 2**62), max_size=20))
def test_an_array_gives_the_same_bits_as_its_integers(cycle: OneCycle, steps: list[int]) -> None:
    array = np.array(steps, dtype=np.int64)
    momenta = cycle.momentum(array)
    assert momenta is not None
    assert cycle.lr(array).tolist() == [cycle.lr(t) for t in steps]
    assert momenta.tolist() == [cycle.momentum(t) for t in steps]


@given(cycles(), st.permutations(range(40)))
def test_the_order_of_calls_does_not_matter(cycle: OneCycle, order: list[int]) -> None:
    expected = [cycle.lr(t) for t in range(40)]
    assert {t: cycle.lr(t) for t in order} == dict(enumerate(expected))


# --- The module itself ---


def test_the_examples_in_the_docstrings() -> None:
    tried = 0
    for module in pkgutil.iter_modules(schedules.__path__, "bsscale.schedules."):
        result = doctest.testmod(importlib.import_module(module.name))
        assert result.failed == 0
        tried += result.attempted
    own = doctest.testmod(schedules)
    assert own.failed == 0
    assert min(own.attempted, tried) > 0


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("schedules", "scipy"),
        ("schedules.options", "scipy"),
        ("schedules.scaling", "scipy"),
        ("objectives.binary", "scipy"),
        ("optimizers", "scipy"),
        ("stats", ""),
    ],
)
def test_pure_modules_import_nothing_heavy(module: str, forbidden: str) -> None:
    heavy = {"torch", "hydra", "omegaconf", "wandb", "sklearn", "pandas", "polars", forbidden}
    code = f"import sys, bsscale.{module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    imported = set(result.stdout.split())
    assert "bsscale" in imported
    assert not imported & heavy
