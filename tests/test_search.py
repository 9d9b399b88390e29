"""The search for a rate: every decision, held by numbers that were worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsscale.stats.search import Result, Rules, Search, Trial, log_grid

INF = math.inf
RULES = Rules(trials=7, seeds=2, finalist_seeds=3)


def trial(lr: float, *runs: tuple[float, float | None], sign: int = 1, diverged: int = 0) -> Trial:
    """A rate with runs (best value, samples), of which the first ones diverged."""
    results = [Result(value, samples, k < diverged) for k, (value, samples) in enumerate(runs)]
    return Trial(lr, tuple(results), sign)


def carried_out(
    search: Search, samples: Callable[[float], float], value: Callable[[float], float]
) -> list[Mapping[float, int]]:
    """The rounds of a search in which all seeds of a rate do the same."""
    rounds = []
    while due := search.ask():
        rounds.append(due)
        search.tell(
            Trial(rate, tuple([Result(value(rate), samples(rate))] * seeds))
            for rate, seeds in due.items()
        )
    return rounds


# --- How rates are ranked -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trials", "best"),
    [
        # Fewer samples come before a higher value.
        ([trial(1, (0.9, 500.0)), trial(2, (0.8, 400.0)), trial(3, (0.95, INF))], 2),
        # Of as many samples, the higher value; of equal ones, the lower rate.
        ([trial(1, (0.8, 400.0)), trial(2, (0.9, 400.0))], 2),
        ([trial(1, (0.9, 400.0)), trial(2, (0.9, 400.0))], 1),
        # Misses by their value.
        ([trial(1, (0.8, INF)), trial(2, (0.9, INF))], 2),
        # Two of three reached it: a median of 900 comes before a miss.
        ([trial(1, *[(0.8, s) for s in (900.0, INF, 300.0)]), trial(2, (0.9, INF))], 1),
        # One of two missed: the median is infinite, and worse than 900 thrice.
        ([trial(1, (0.9, 100.0), (0.9, INF)), trial(2, (0.8, 900.0))], 2),
        # Before there is a target, the value alone.
        ([trial(1, (0.8, None)), trial(2, (0.9, None))], 2),
        # A run that diverged is worse than one at chance, however good it was before.
        ([trial(1, (0.9, None), diverged=1), trial(2, (0.5, None))], 2),
        ([trial(1, (0.9, INF), (0.9, INF), diverged=1), trial(2, (0.5, INF))], 2),
        # One of three: the median is that of a run that did not.
        ([trial(1, *[(0.9, INF)] * 3, diverged=1), trial(2, (0.8, INF))], 1),
        # One that diverged after it had reached the target has reached it.
        ([trial(1, (0.9, 300.0), diverged=1), trial(2, (0.9, 400.0))], 1),
        # Of a loss, the lower one.
        ([trial(1, (0.4, None), sign=-1), trial(2, (0.5, None), sign=-1)], 1),
        ([trial(1, (0.4, None), sign=-1, diverged=1), trial(2, (0.7, None), sign=-1)], 2),
        ([trial(1, (INF, None), sign=-1), trial(2, (9.0, None), sign=-1)], 2),
    ],
)
def test_the_best_of_some_trials(trials: list[Trial], best: float) -> None:
    search = Search(RULES, 0.1, 10)
    search.tell(reversed(trials))
    assert search.best.lr == best


def test_a_trial_sums_up_its_runs() -> None:
    made = trial(1, (0.7, 300.0), (0.8, INF), (0.9, 100.0), diverged=1)
    assert (made.samples_to_target, made.best_value, made.diverged) == (300.0, 0.8, 1)
    assert trial(1, (0.7, 300.0), (0.8, None)).samples_to_target is None


def test_what_is_not_told_apart_from_the_best() -> None:
    search = Search(RULES, 0.1, 10)
    best = trial(1, (0.8, 200.0), (0.8, 210.0), (0.8, 230.0))
    trials = {
        0.5: [(0.8, 229.0), (0.8, 400.0)],  # one of its runs beats the worst one there
        0.7: [(0.8, 231.0), (0.8, 240.0)],  # none does
        2.0: [(0.8, 230.0), (0.8, INF)],  # equal is as good
        3.0: [(0.9, INF), (0.9, INF)],
    }
    search.tell([best, *(trial(lr, *runs) for lr, runs in trials.items())])
    assert search.best is best
    assert [each.lr for each in search.flat] == [0.5, 1, 2.0]


def test_rates_that_all_missed_are_told_apart_by_their_values() -> None:
    search = Search(RULES, 0.1, 10)
    search.tell(
        [
            trial(1, (0.80, INF), (0.84, INF)),
            trial(2, (0.79, INF), (0.78, INF)),
            trial(3, (0.81, INF), (0.70, INF)),
            trial(4, (0.99, INF), (0.99, INF), diverged=2),
        ]
    )
    assert [each.lr for each in search.flat] == [1, 3]


# --- What is tried --------------------------------------------------------------------------------


def test_the_first_round_is_a_grid_on_a_logarithmic_scale() -> None:
    assert log_grid(0.003, 3, 4) == [0.003, 0.03, 0.3, 3.0]
    assert Search(RULES, 0.1, 10).ask() == {
        0.1: 2, 0.215: 2, 0.464: 2, 1.0: 2, 2.15: 2, 4.64: 2, 10.0: 2,
    }  # fmt: skip


def test_both_neighbours_of_the_best_are_refined_and_then_the_finalists_get_more_seeds() -> None:
    search = Search(RULES, 0.1, 10)
    rounds = carried_out(search, lambda rate: 100 + abs(math.log(rate / 1.05)), lambda _: 0.8)
    # The best of the grid is 1; gaps of 2.15 get one rate each, their geometric mean.
    assert rounds[1] == {0.681: 2, 1.47: 2}
    # Then the three best, 1, 1.47 and 0.681, get a third seed, and nothing is left to do.
    assert rounds[2:] == [{0.681: 3, 1.0: 3, 1.47: 3}]
    assert search.best.lr == 1.0 and search.edge is None and search.extended == 0


def test_a_wide_gap_gets_two_rates_at_a_time() -> None:
    search = Search(Rules(trials=3, seeds=1, finalist_seeds=1), 0.01, 100)
    rounds = carried_out(search, lambda rate: 100 + abs(math.log(rate)), lambda _: 0.8)
    assert list(rounds[0]) == [0.01, 1.0, 100.0]
    # Gaps of 100 become gaps of 4.64, and these gaps of 1.67, a little above 1.6; then of 1.29.
    assert list(rounds[1]) == [0.0464, 0.215, 4.64, 21.5]
    assert list(rounds[2]) == [0.359, 0.599, 1.67, 2.78]
    assert list(rounds[3]) == [0.774, 1.29]


def test_a_gap_of_just_1_6_is_close_enough() -> None:
    for high, rounds in ((1.6**2, 1), (1.605**2, 2)):
        search = Search(Rules(trials=3, seeds=1, finalist_seeds=1), 1, high)
        asked = carried_out(search, lambda rate: 100 + abs(math.log(rate / 1.6)), lambda _: 0.8)
        assert len(asked) == rounds


@pytest.mark.parametrize(
    ("best", "edge", "extensions"),
    [
        # The grid goes on in its own steps of 2.154: two of them cover a factor of four.
        (1e9, "high", [[21.5, 46.4], [100.0, 215.0]]),
        (1e-9, "low", [[0.0215, 0.0464], [0.00464, 0.01]]),
        # An optimum within the first extension ends there.
        (21.5, None, [[21.5, 46.4]]),
    ],
)
def test_a_best_rate_at_an_end_extends_the_range(
    best: float, edge: str | None, extensions: list[list[float]]
) -> None:
    search = Search(RULES, 0.1, 10)
    rounds = carried_out(search, lambda rate: 100 + abs(math.log(rate / best)), lambda _: 0.8)
    assert [list(due) for due in rounds[1 : 1 + len(extensions)]] == extensions
    assert (search.edge, search.extended) == (edge, len(extensions))
    # What remains at an end is refined on its inner side, and flagged.
    assert len(rounds) == len(extensions) + 3


def test_all_rates_that_diverge_extend_the_range_downwards() -> None:
    search = Search(RULES, 0.1, 10)
    first = search.ask()
    search.tell(trial(lr, (0.9, None), diverged=1) for lr in first)
    assert list(search.ask()) == [0.0215, 0.0464]


def test_a_lucky_rate_is_found_out_by_more_seeds() -> None:
    search = Search(Rules(trials=7, seeds=1, finalist_seeds=3), 0.1, 10)
    # On its first seed 4.64 needs 200 samples, on others 337; 1.0 needs 227 on each.
    samples = {1.0: [227.0] * 3, 4.64: [200.0, 337.0, 337.0]}
    while due := search.ask():
        search.tell(
            trial(lr, *[(0.8, each) for each in samples.get(lr, [300.0 + lr] * 3)[:seeds]])
            for lr, seeds in due.items()
        )
    assert search.best.lr == 1.0
    # The three best of all have three seeds, and the neighbours of the best are close.
    ranked = sorted(search.ordered, key=lambda each: each.rank, reverse=True)
    assert [len(each.results) for each in ranked[:3]] == [3, 3, 3]
    rates = sorted(search.trials)
    place = rates.index(1.0)
    assert rates[place + 1] / 1.0 <= 1.6 and 1.0 / rates[place - 1] <= 1.6


def test_once_there_is_a_target_base_lr_may_move() -> None:
    search = Search(RULES, 0.1, 10)
    value = {0.464: 0.75, 1.0: 0.8, 2.15: 0.79}
    while due := search.ask():
        search.tell(trial(lr, *[(value.get(lr, 0.5), None)] * seeds) for lr, seeds in due.items())
    assert search.best.lr == 1.0
    # By samples to the target, 2.15 is better: it becomes the best, and is refined in its turn.
    tried = list(search.trials)
    samples = {1.0: 200.0, 2.15: 150.0}
    search.tell(trial(lr, *[(value.get(lr, 0.5), samples.get(lr, INF))] * 3) for lr in tried)
    assert search.best.lr == 2.15
    assert list(search.ask()) == [3.16]  # (between 2.15 and 4.64; 1.47 is there already)


def test_a_search_may_be_asked_for_more_rates() -> None:
    search = Search(Rules(trials=3, seeds=2, finalist_seeds=2), 1, 2.25)
    samples = {1.0: 300.0, 1.5: 200.0, 2.25: 250.0}
    search.tell(trial(lr, (0.8, samples[lr])) for lr in search.ask())
    assert search.ask() == {} and search.ask(at_least=3) == {}
    # Next to the best rate, the wider gap first: equal ones from below.
    assert search.ask(at_least=4) == {1.22: 2}
    search.tell([trial(1.22, (0.8, 290.0))])
    assert search.ask(at_least=6) == {1.35: 2, 1.84: 2}
    assert search.tried == 6


def test_a_search_goes_on_from_a_sweep() -> None:
    sweep = [trial(0.001, (0.6, None)), trial(1000, (0.5, None)), trial(0.1, (0.7, None))]
    assert Search.of(sweep, 3).ask() == {0.00464: 1, 0.0215: 1, 2.15: 1, 46.4: 1}
    close = [trial(rate, *[(0.7 - abs(rate - 1), None)] * 2) for rate in (0.7, 1.0, 1.5)]
    assert Search.of(close, 3).ask() == {0.7: 3, 1.0: 3, 1.5: 3}
    assert Search.of(close, 2).ask() == {}
    # The gap above 1 is the wider one.
    assert Search.of(close, 2).ask(at_least=4) == {1.22: 2}


def test_a_rate_whose_runs_all_failed_is_not_asked_for_again() -> None:
    search = Search(RULES, 0.1, 10)
    asked: list[float] = []
    while due := search.ask():
        assert not {rate for rate, seeds in due.items() if seeds == 2} & set(asked)
        asked += due
        search.tell(trial(lr, (0.8, 100 + lr)) for lr in due if lr < 1)
    assert search.best.lr < 1 and asked


@given(
    low=st.floats(1e-6, 1),
    ratio=st.floats(2, 1e5),
    trials=st.integers(3, 20),
    place=st.floats(-2, 3),
    luck=st.lists(st.integers(0, 9), min_size=200, max_size=200),
)
@settings(max_examples=30)
def test_every_search_ends_refined_or_flagged(
    low: float, ratio: float, trials: int, place: float, luck: list[int]
) -> None:
    rules = Rules(trials=trials, seeds=1, finalist_seeds=3)
    search = Search(rules, low, low * ratio)
    optimum, chance, runs = math.log(low) + place * math.log(ratio), iter(luck), 0

    def samples(lr: float) -> float:
        return 100 + abs(math.log(lr) - optimum) + next(chance, 0) / 10

    while due := search.ask():
        told = {lr: search.trials[lr].results if lr in search.trials else () for lr in due}
        for lr, seeds in due.items():
            new = [Result(0.8, samples(lr)) for _ in range(seeds - len(told[lr]))]
            runs += len(new)
            search.tell([Trial(lr, (*told[lr], *new))])
    assert runs <= rules.most_runs(low, low * ratio)
    assert len(search.best.results) == 3
    best, rates = search.best.lr, sorted(search.trials)
    gaps = [high / low for low, high in pairwise(rates) if best in (low, high)]
    assert max(gaps) <= 1.6 or len(rates) >= trials + rules.most_added
    assert search.edge is None or search.extended == rules.extensions
