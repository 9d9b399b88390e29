"""Reading a range test: where it diverges, what the well-known readings say, what is suggested."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import median_filter

from bsscale.objectives import Criterion
from bsscale.stats.range_test import Chance, Curve, Edge, Estimates, estimates, find_edge, suggest
from bsscale.stats.readings import minimum_tenth, steepest, valley

CHANCE = Chance(0.6, "the label's entropy", 0.51, Criterion("auc", "max"))
LR = np.geomspace(1e-3, 10, 81)


def curve(noise: float = 0.002, rise_at: float = 1.0, slope: float = 0.3, seed: int = 0) -> Curve:
    """A loss that falls over log rate and rises from `rise_at` on, with an AUC that mirrors it."""
    position = np.log10(LR) + 3
    fall = 0.58 - 0.05 * position
    past = np.maximum(0, np.log10(LR / rise_at))
    rng = np.random.default_rng(seed)
    loss = fall + slope * past + noise * rng.standard_normal(len(LR))
    return Curve(LR, loss, np.full(len(LR), 0.7))


def edge(made: Curve) -> Edge:
    return find_edge(made, CHANCE)


@pytest.mark.parametrize("seed", range(20))
def test_a_rise_is_found_near_where_it_begins_through_noise(seed: int) -> None:
    found = edge(curve(seed=seed))
    assert found.diverged and found.reason == "the loss rising beyond its noise"
    assert 1.0 <= found.lr < 1.6


def test_a_rise_of_a_factor_1_7_is_found() -> None:
    """A threshold of four times the lowest loss, common elsewhere, would miss it."""
    made = curve(noise=0.0, slope=0.35)
    assert 1.5 < np.nanmax(made.loss) / np.nanmin(made.loss) < 2
    assert edge(made).diverged


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_divergence(seed: int) -> None:
    found = edge(curve(noise=0.01, rise_at=1e9, seed=seed))
    assert not found.diverged
    assert found.lr == LR[-1]


def test_a_spike_that_comes_back_is_no_divergence() -> None:
    made = curve(rise_at=1e9)
    made.loss[50] = 2.0
    made.values[50] = 0.4
    assert not edge(made).diverged


def test_a_non_finite_loss_ends_the_range() -> None:
    for bad in (math.nan, math.inf):
        made = curve(rise_at=1e9)
        made.loss[60:] = bad
        found = edge(made)
        assert (found.lr, found.reason) == (LR[59], "a non-finite loss")


def curve_of(*losses: float) -> Curve:
    """A curve with these losses, at the rates 1, 2, 4, ..., and an AUC above chance."""
    count = len(losses)
    return Curve(2.0 ** np.arange(count), np.array(losses), np.full(count, 0.7))


def test_a_rise_lasts_three_evaluations() -> None:
    # A straight fall has no second differences, so no noise: any rise is beyond it.
    fall = (0.58, 0.57, 0.56, 0.55, 0.54, 0.53, 0.52, 0.51, 0.50)
    assert not edge(curve_of(*fall, 0.56, 0.56)).diverged
    # The last rate at which it had not diverged is that of the ninth evaluation, 2 ** 8.
    assert edge(curve_of(*fall, 0.56, 0.56, 0.56)) == Edge(
        256.0, True, "the loss rising beyond its noise"
    )
    # The rise need not be the end of the test's falls, but it must not come back.
    assert edge(curve_of(*fall, 0.56, 0.56, 0.56, 0.50, 0.56, 0.56, 0.56)).lr == 2.0**12
    assert not edge(curve_of(*fall, 0.56, 0.56, 0.56, 0.50)).diverged


def test_a_rise_takes_six_evaluations() -> None:
    assert edge(curve_of(0.5, 0.4, 0.3, 0.55, 0.56, 0.57)) == Edge(
        4.0, True, "the loss rising beyond its noise"
    )
    assert not edge(curve_of(0.4, 0.3, 0.55, 0.56, 0.57)).diverged


@pytest.mark.parametrize(("times", "diverged"), [(3.9, False), (4.1, True)])
def test_a_rise_is_four_times_the_noise(times: float, diverged: bool) -> None:
    # A fall of 0.01 an evaluation, every second one 0.004 higher: its second differences are 0.008
    # and -0.008 in turn. Running medians of five are lowest at the third evaluation before the
    # rise: 0.58 - 0.13 + 0.004. There are 12 second differences up to it: their median is 0, that
    # of their size 0.008, and the noise 1.4826 x 0.008 / sqrt(6) = 0.004842.
    fall = [0.58 - 0.01 * number + 0.004 * (number % 2) for number in range(16)]
    low, noise = 0.454, 0.004842
    rise = [low + times * noise] * 3
    assert edge(curve_of(*fall, *rise)).diverged == diverged


def test_the_noise_is_that_before_the_rise() -> None:
    # What trains badly is noisy: second differences of 0.08 would ask for a rise of 0.19.
    fall = [0.58 - 0.01 * number for number in range(8)]
    found = edge(curve_of(*fall, *[0.57, 0.53] * 10))
    assert found == Edge(2.0**7, True, "the loss rising beyond its noise")


def test_what_was_good_once_is_lost_at_the_next_evaluation() -> None:
    made = curve_of(0.65, 0.55, *[0.65] * 8)
    assert edge(made) == Edge(2.0, True, "the loss back above the label's entropy")


def test_what_the_model_gets_over_is_no_edge() -> None:
    # Back above the entropy of 0.6 for three evaluations, then three that are lower than 0.55.
    fall = (0.62, 0.59, 0.57, 0.55)
    assert not edge(curve_of(*fall, 0.61, 0.61, 0.61, 0.54, 0.53, 0.52)).diverged
    # Two lower ones are too few; nor are equal ones lower.
    back = "the loss back above the label's entropy"
    assert edge(curve_of(*fall, 0.61, 0.61, 0.61, 0.54, 0.53, 0.55)) == Edge(8.0, True, back)
    # It was unstable if its loss was a tenth higher than the first one, 0.62: more than 0.682.
    assert edge(curve_of(*fall, 0.681, 0.61, 0.61, 0.54, 0.53, 0.52)).instability is None
    assert edge(curve_of(*fall, 0.683, 0.61, 0.61, 0.54, 0.53, 0.52)).instability == 8.0
    # What it does not get over is its edge, and no instability.
    assert edge(curve_of(*fall, 0.9, 0.9, 0.9, 0.9)).instability is None


def test_a_loss_back_above_the_entropy_and_an_auc_back_at_chance() -> None:
    made = curve(rise_at=1e9)
    made.values[40:] = 0.5
    assert edge(made) == Edge(LR[39], True, "the AUC back at chance")
    made = curve(rise_at=1e9)
    made.loss[30:] = 0.7
    assert edge(made).lr == LR[29] and "entropy" in edge(made).reason


def test_a_metric_of_which_lower_values_are_better_is_back_at_chance() -> None:
    chance = replace(CHANCE, value=0.9, criterion=Criterion("log_loss", "min"))
    made = curve(rise_at=1e9)
    made.values[40:] = 0.9  # (at chance: not better)
    assert find_edge(made, chance) == Edge(LR[39], True, "the log loss back at chance")
    made.values[40:] = 0.89
    assert not find_edge(made, chance).diverged


def test_a_metric_whose_value_at_chance_is_not_known_is_no_sign() -> None:
    made = curve(rise_at=1e9)
    made.values[40:] = -100.0
    assert not find_edge(made, replace(CHANCE, value=None)).diverged


def test_what_was_never_good_cannot_be_lost() -> None:
    """At the smallest rates nothing is learnt yet: that is not divergence."""
    made = Curve(LR, np.full(len(LR), 0.65), np.full(len(LR), 0.5))
    assert not edge(made).diverged


# Losses, and the indices of the rates at which fastai points: `steep`, `valley`, and `minimum`
# before its division by ten. They were computed once by fastai's own functions (fastai 2.8.12,
# fastai/callback/schedule.py: valley in lines 216 to 234, minimum in 255 to 259, steep in 262 to
# 267), at ten rates for each factor of ten. By hand: in the first list, nine losses after the first
# are each below the one before, so the valley has a length of 10 and ends at 9. It begins after
# index 9 - 10 = -1; 10 // 3 + 10 // 6 = 4 further on is 3.
FASTAI: dict[str, tuple[list[float], tuple[int, int, int]]] = {
    "a fall and a rise": (
        [.60, .595, .585, .57, .55, .525, .50, .48, .47, .465, .468, .48, .52, .60], (4, 3, 9),
    ),
    "through noise": (
        [.60, .61, .58, .59, .55, .57, .52, .53, .49, .50, .47, .48, .46, .49, .47, .52, .60],
        (5, 8, 12),
    ),
    "a fall only": ([.60, .58, .55, .54, .50, .49, .40], (5, 2, 6)),
    "two valleys": ([.50, .40, .45, .60, .55, .52, .50, .47, .44, .43, .60], (0, 5, 1)),
    "two of one length": ([.50, .48, .46, .60, .55, .53, .58], (3, 0, 2)),
    "equal losses between": ([.50, .49, .49, .46, .46, .44], (2, 2, 5)),
    "the lowest twice": ([.60, .50, .55, .50, .65], (0, 1, 1)),
    "flat": ([.5, .5, .5, .5], (0, 0, 0)),
    "a rise only": ([.50, .51, .53, .54], (0, 0, 0)),
    "one late fall": ([.50, .51, .52, .515], (2, 1, 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", FASTAI)
def test_the_readings_are_those_of_fastai(name: str) -> None:
    losses, expected = FASTAI[name]
    lr, loss = 10.0 ** (np.arange(len(losses)) / 10 - 3), np.array(losses)
    steep, middle, lowest = (lr[index] for index in expected)
    assert (steepest(lr, loss), valley(lr, loss)) == (steep, middle)
    assert minimum_tenth(lr, loss) == lowest / 10


def test_a_valley_of_one_fall_at_the_start_is_at_the_first_rate() -> None:
    # fastai's index is 1 - 2 + 0 + 0 = -1, in Python the highest rate of all.
    lr, loss = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, 0.49, 0.52, 0.53])
    assert valley(lr, loss) == 1.0


def restated_valley(loss: list[float]) -> int:
    """fastai's algorithm, stated a second time: lengths by recursion, thirds as they divide."""

    @functools.cache
    def length(end: int) -> int:
        return 1 + max((length(i) for i in range(end) if loss[i] > loss[end]), default=0)

    end = max(range(len(loss)), key=lambda index: (length(index), -index))
    start = end - length(end) if length(end) > 1 else 0
    third = (end - start) / 3
    return start + math.floor(third) + math.floor(third / 2)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_a_valley_wherever_it_is(values: list[int]) -> None:
    loss = [float(value) for value in values]
    found = valley(np.arange(len(loss), dtype=np.float64), np.array(loss))
    assert found == max(restated_valley(loss), 0)


@pytest.mark.parametrize("seed", range(5))
def test_they_read_running_medians_up_to_the_edge(seed: int) -> None:
    made = curve(seed=seed)
    read = estimates(made, CHANCE)
    assert read.edge.diverged
    below = made.lr <= read.edge.lr
    lr, loss = LR[below], median_filter(made.loss[below], 5, mode="nearest")
    assert read.valley == lr[restated_valley(loss.tolist())]
    assert read.minimum_tenth == lr[loss.argmin()] / 10
    slopes = [(b - a) / math.log(y / x) for (a, x), (b, y) in pairwise(zip(loss, lr, strict=True))]
    assert read.steepest == lr[slopes.index(min(slopes))]


def test_stairs_are_read_at_their_ends() -> None:
    stairs = np.repeat(LR[::4], 4)[: len(LR)]
    made = curve(noise=0.0)
    read = estimates(Curve(stairs, made.loss, made.values), CHANCE)
    readings = [read.steepest, read.valley, 10 * read.minimum_tenth]
    assert all(np.isclose(stairs, rate, rtol=1e-12).any() for rate in readings)


def reading(rate: float, diverged: bool = True) -> Estimates:
    return Estimates(rate / 8, rate / 9, rate / 10, Edge(rate, diverged, "because"))


def test_the_suggestion_stays_below_every_seeds_edge_and_carries_the_spread() -> None:
    made = suggest([reading(2.0), reading(3.0), reading(2.5)], samples_per_pass=100_000)
    assert 0 < made.cycle_min_lr < made.cycle_max_lr < 2.0
    assert made.spread["edge"] == (2.0, 2.5, 3.0)
    assert set(made.spread) == {"steepest", "valley", "minimum_tenth", "edge"}
    assert "3 of 3" in made.reason
    assert made.cycle_first_samples > 0 and made.cycle_second_samples > 0
    assert f"schedule.cycle_max_lr={made.cycle_max_lr}" in made.overrides()


def test_the_suggestion_in_numbers() -> None:
    # Half of the lowest edge, and a tenth of that; of a pass 3 tenths up and 7 tenths down.
    made = suggest([reading(2.6), reading(3.0)], samples_per_pass=200_000)
    assert made.preset() == {
        "cycle_min_lr": 0.13,
        "cycle_max_lr": 1.3,
        "cycle_first_samples": 60_000,
        "cycle_second_samples": 140_000,
    }


def test_a_lower_momentum_at_the_peak_leaves_room_for_a_higher_rate() -> None:
    plain, cycled = suggest([reading(2.0)], 1000), suggest([reading(2.0)], 1000, momentum_gain=2.0)
    assert cycled.cycle_max_lr == 2 * plain.cycle_max_lr
    assert "doubled because momentum is lower" in cycled.reason and "momentum" not in plain.reason


def test_a_test_that_never_diverged_says_so() -> None:
    made = suggest([reading(2.0, diverged=False)], samples_per_pass=100_000)
    assert "the loss rose on no seed" in made.reason


def test_more_seeds_can_only_lower_the_peak() -> None:
    few = suggest([reading(2.0)], 1000)
    many = suggest([reading(2.0), reading(1.0), reading(9.0)], 1000)
    assert many.cycle_max_lr < few.cycle_max_lr


def test_three_evaluations_are_a_curve_and_two_are_none() -> None:
    # Running medians of five, the ends repeated, are 0.5, 0.4 and 0.2: steepest from the second on.
    read = estimates(curve_of(0.5, 0.4, 0.2, math.nan), CHANCE)
    assert (read.steepest, read.valley, read.minimum_tenth) == (2.0, 1.0, 0.4)
    read = estimates(curve_of(0.5, 0.4, math.nan), CHANCE)
    assert (read.steepest, read.valley, read.minimum_tenth) == (2.0, 2.0, 0.2)
    # Not a single loss is finite.
    read = estimates(curve_of(math.nan, math.nan, math.nan), CHANCE)
    assert (read.steepest, read.valley, read.minimum_tenth) == (1.0, 1.0, 0.1)


def test_a_curve_that_diverges_at_once_still_gives_a_reading() -> None:
    made = curve(rise_at=1e9)
    made.loss[1:] = math.nan
    read = estimates(made, CHANCE)
    assert read.edge.lr == LR[0] and read.edge.diverged
    assert replace(read).minimum_tenth == LR[0] / 10
