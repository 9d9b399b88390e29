"""Reading a range test: where it diverges, what the well-known readings say, what is suggested."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bsscale.stats.range_test import Curve, Edge, Estimates, estimates, find_edge, suggest

ENTROPY, CHANCE = 0.6, 0.51
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
    return find_edge(made, ENTROPY, CHANCE)


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
    made.auc[50] = 0.4
    assert not edge(made).diverged


def test_a_non_finite_loss_ends_the_range() -> None:
    for bad in (math.nan, math.inf):
        made = curve(rise_at=1e9)
        made.loss[60:] = bad
        found = edge(made)
        assert (found.lr, found.reason) == (LR[59], "a non-finite loss")


def test_a_loss_back_above_the_entropy_and_an_auc_back_at_chance() -> None:
    made = curve(rise_at=1e9)
    made.auc[40:] = 0.5
    assert edge(made) == Edge(LR[39], True, "the AUC back at chance")
    made = curve(rise_at=1e9)
    made.loss[30:] = 0.7
    assert edge(made).lr == LR[29] and "entropy" in edge(made).reason


def test_what_was_never_good_cannot_be_lost() -> None:
    """At the smallest rates nothing is learnt yet: that is not divergence."""
    made = Curve(LR, np.full(len(LR), 0.65), np.full(len(LR), 0.5))
    assert not edge(made).diverged


def test_the_well_known_readings_of_a_known_curve() -> None:
    position = np.log10(LR) + 3  # 0 ... 4
    # Falls like a logistic function with its steepest point at 1e-1, lowest at 1, then rises.
    loss = 0.5 - 0.2 / (1 + np.exp(-6 * (position - 2))) + 2 * np.maximum(0, position - 3) ** 2
    read = estimates(Curve(LR, loss, np.full(len(LR), 0.7)), ENTROPY, CHANCE)
    assert read.steepest == pytest.approx(0.1, rel=0.2)
    assert read.minimum_tenth == pytest.approx(0.1, rel=0.3)
    # The valley runs from the first rate to the lowest loss: two thirds in is 1e-1.
    assert read.valley == pytest.approx(0.1, rel=0.3)
    assert read.edge.lr >= 1


def test_stairs_are_read_at_their_ends() -> None:
    stairs = np.repeat(LR[::4], 4)[: len(LR)]
    made = curve(noise=0.0)
    read = estimates(Curve(stairs, made.loss, made.auc), ENTROPY, CHANCE)
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


def test_a_lower_momentum_at_the_peak_leaves_room_for_a_higher_rate() -> None:
    plain, cycled = suggest([reading(2.0)], 1000), suggest([reading(2.0)], 1000, momentum_gain=2.0)
    assert cycled.cycle_max_lr == 2 * plain.cycle_max_lr
    assert "lower momentum" in cycled.reason and "momentum" not in plain.reason


def test_a_test_that_never_diverged_says_so() -> None:
    made = suggest([reading(2.0, diverged=False)], samples_per_pass=100_000)
    assert "no seed diverged" in made.reason


def test_more_seeds_can_only_lower_the_peak() -> None:
    few = suggest([reading(2.0)], 1000)
    many = suggest([reading(2.0), reading(1.0), reading(9.0)], 1000)
    assert many.cycle_max_lr < few.cycle_max_lr


def test_a_curve_that_diverges_at_once_still_gives_a_reading() -> None:
    made = curve(rise_at=1e9)
    made.loss[1:] = math.nan
    read = estimates(made, ENTROPY, CHANCE)
    assert read.edge.lr == LR[0] and read.edge.diverged
    assert replace(read).minimum_tenth == LR[0] / 10
