"""Metrics: exact AUC against scikit-learn and by hand, the loss, and the crossing of a target."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from bsscale.errors import MetricError
from bsscale.objectives.binary import binary_cross_entropy, chance_auc_bound, label_entropy, roc_auc
from bsscale.objectives.target import Crossing, crossing

Array = NDArray[Any]

DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")


def by_pairs(label: Array, score: Array) -> float:
    """The definition: every pair, in Python."""
    pairs = list(itertools.product(score[label == 1].tolist(), score[label == 0].tolist()))
    twice = sum(2 * (winner > loser) + (winner == loser) for winner, loser in pairs)
    return float(Fraction(twice, 2 * len(pairs)))


@st.composite
def labelled_scores(draw: st.DrawFn) -> tuple[Array, Array]:
    """Labels of both classes with scores of any type, ties, infinities and -0.0 among them."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    n = draw(st.integers(2, 60))
    any_value = hnp.from_dtype(dtype, allow_nan=False)
    few_values = st.sampled_from(draw(st.lists(any_value, min_size=1, max_size=4)))
    elements = draw(st.sampled_from([any_value, few_values]))
    score = draw(hnp.arrays(dtype, n, elements=elements))
    label = np.array(
        draw(st.permutations([0, 1, *draw(st.tuples(*[st.integers(0, 1)] * (n - 2)))]))
    )
    return label, score


@given(labelled_scores())
def test_auc_is_its_definition(case: tuple[Array, Array]) -> None:
    assert roc_auc(*case) == by_pairs(*case)


@given(labelled_scores())
def test_auc_depends_on_the_order_only(case: tuple[Array, Array]) -> None:
    label, score = case
    ranks = np.unique(score, return_inverse=True)[1]
    assert roc_auc(label, score) == roc_auc(label, ranks) == roc_auc(label[::-1], score[::-1])
    assert math.isclose(roc_auc(1 - label, ranks), 1 - roc_auc(label, ranks), abs_tol=1e-15)
    assert math.isclose(roc_auc(label, -ranks), 1 - roc_auc(label, ranks), abs_tol=1e-15)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("levels", [3, 1000, 10**6])
@pytest.mark.parametrize("share", [0.001, 0.25, 0.9])
def test_auc_is_scikit_learns(dtype: type[np.generic], levels: int, share: float) -> None:
    rng = np.random.default_rng(levels)
    label = rng.random(20_000) < share
    score = rng.normal(size=20_000) + 0.5 * label
    score = np.round(score * levels / 10)
    if np.issubdtype(dtype, np.floating):
        score /= levels  # (a float16 has no room for a million levels as integers)
    score = score.astype(dtype)
    assert abs(roc_auc(label, score) - roc_auc_score(label, score)) <= 1e-12


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_auc_of_extreme_floats_is_scikit_learns(dtype: type[np.floating[Any]]) -> None:
    info = np.finfo(dtype)
    tiny = info.smallest_subnormal
    values = np.array(
        [-info.max, -1, -info.tiny, -tiny, -0.0, 0.0, tiny, info.tiny, 1, info.max], dtype
    )
    rng = np.random.default_rng(0)
    for _ in range(50):
        score = rng.choice(values, 40)
        label = np.append([0, 1], rng.integers(0, 2, 38))
        # (By rank: scikit-learn subtracts scores, and these overflow.)
        expected = roc_auc_score(label, np.searchsorted(values, score))
        assert abs(roc_auc(label, score) - expected) <= 1e-12


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_signed_zeros_are_equal(dtype: type[np.floating[Any]]) -> None:
    assert roc_auc([0, 1], np.array([0.0, -0.0], dtype)) == 0.5
    assert roc_auc([1, 0], np.array([0.0, -0.0], dtype)) == 0.5


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_infinities_are_ordered(dtype: type[np.floating[Any]]) -> None:
    largest = np.finfo(dtype).max
    score = np.array([-np.inf, -largest, largest, np.inf], dtype)
    assert roc_auc([0, 1, 0, 1], score) == 0.75
    assert roc_auc([0, 1], np.array([np.inf, np.inf], dtype)) == 0.5


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("start", [-1.0, -0.7, 0.0, 0.7, 1.0])
def test_neighbouring_floats_keep_their_order(dtype: type[np.floating[Any]], start: float) -> None:
    score = [dtype(start)]
    for _ in range(7):
        score.append(np.nextafter(score[-1], dtype(2)))
    for label in itertools.product([0, 1], repeat=8):
        if 0 < sum(label) < 8:
            assert roc_auc(label, np.array(score)) == roc_auc(label, range(8))


def test_wide_logits_keep_their_order() -> None:
    # A float32 sigmoid is 1 for all of these, which would make the AUC 0.5.
    score = np.array([20.0, 30.0, 40.0, 50.0], np.float32)
    assert roc_auc([0, 0, 1, 1], score) == 1.0


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_beyond_float64_keep_their_order(dtype: type[np.integer[Any]]) -> None:
    assert roc_auc([0, 1], np.array([2**53, 2**53 + 1], dtype)) == 1.0


def test_auc_does_not_overflow() -> None:
    # Twice the pairs are 2 * 10**12, far beyond 32 bits; all tied, so every group is counted.
    n = 2_000_000
    label = np.arange(n) % 2
    assert roc_auc(label, np.zeros(n, np.float32)) == 0.5
    assert roc_auc(label, label) == 1.0
    assert roc_auc(label, -label) == 0.0


@pytest.mark.parametrize("label", [[False, True], [0.0, 1.0], np.array([0, 1], np.uint8)])
def test_labels_of_any_type(label: Any) -> None:
    assert roc_auc(label, [0.1, 0.2]) == 1.0


def test_auc_leaves_its_input_alone() -> None:
    label, score = np.array([1, 0, 1]), np.array([3, 2, 1], np.float32)
    roc_auc(label, score)
    assert label.tolist() == [1, 0, 1]
    assert score.tolist() == [3, 2, 1]


@pytest.mark.parametrize(
    ("label", "score", "fact"),
    [
        ([], [], "there are no labels"),
        ([1, 1], [0.1, 0.2], "all 2 labels are 1"),
        ([0, 0, 0], [0.1, 0.2, 0.3], "all 3 labels are 0"),
        ([0, 1], [0.1, math.nan], "1 of 2 scores are NaN, the first at position 1"),
        ([0, 1], np.array([math.nan, math.nan], np.float32), "2 of 2 scores are NaN"),
        ([0, 1], [0.1, 0.2, 0.3], r"scores have shape \(3,\), labels \(2,\)"),
        ([0, 1], [[0.1], [0.2]], r"scores have shape \(2, 1\), labels \(2,\)"),
        ([[0], [1]], [[0.1], [0.2]], r"labels have shape \(2, 1\)"),
        ([0, 1, 2], [0.1, 0.2, 0.3], "label 2 is 2"),
        ([-1, 1], [0.1, 0.2], "label 0 is -1"),
        ([0, 0.5], [0.1, 0.2], "label 1 is 0.5"),
        ([0, math.nan], [0.1, 0.2], "label 1 is nan"),
        (["no", "yes"], [0.1, 0.2], "labels have type"),
        ([0, 1], ["a", "b"], "scores have type"),
        ([0, 1], [1j, 2j], "scores have type complex128"),
    ],
)
def test_undefined_aucs_are_errors(label: Any, score: Any, fact: str) -> None:
    with pytest.raises(MetricError, match=fact) as error:
        roc_auc(label, score)
    assert error.value.remedy
    assert str(error.value).isascii()


# --- Loss, and what it is compared with ---


def test_cross_entropy_golden_values() -> None:
    assert binary_cross_entropy([0, 1], [0.0, 0.0]) == pytest.approx(math.log(2), rel=1e-15)
    assert binary_cross_entropy([1], [math.log(3)]) == pytest.approx(math.log(4 / 3), rel=1e-15)


def test_cross_entropy_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    label, logit = rng.integers(0, 2, 1000), rng.normal(size=1000) * 5
    expected = log_loss(label, 1 / (1 + np.exp(-logit)))
    assert binary_cross_entropy(label, logit) == pytest.approx(expected, rel=1e-12)


def test_cross_entropy_of_wide_logits() -> None:
    far = np.array([1e4, -1e4], np.float32)
    assert binary_cross_entropy([0, 1], far) == 1e4
    assert binary_cross_entropy([1, 0], far) == 0.0
    assert binary_cross_entropy([1, 0], [800.0, -800.0]) == 0.0
    # Smaller than float64's resolution near 1, yet not lost.
    assert binary_cross_entropy([1], [50.0]) == pytest.approx(math.exp(-50), rel=1e-12)


def test_cross_entropy_of_a_diverged_model_is_not_finite() -> None:
    assert binary_cross_entropy([0, 1], [math.inf, 0.0]) == math.inf
    assert binary_cross_entropy([1, 0], [math.inf, -math.inf]) == 0.0
    assert math.isnan(binary_cross_entropy([0, 1], [math.nan, 0.0]))


@pytest.mark.parametrize("function", [roc_auc, binary_cross_entropy])
def test_lengths_must_match(function: Any) -> None:
    with pytest.raises(MetricError, match="have shape"):
        function([0, 1], [0.5])


@pytest.mark.parametrize(
    ("label", "entropy"),
    [
        ([0, 1], math.log(2)),
        ([0, 0, 0, 1], 0.75 * math.log(4 / 3) + 0.25 * math.log(4)),
        ([0, 0], 0.0),
        ([1], 0.0),
    ],
)
def test_label_entropy(label: list[int], entropy: float) -> None:
    assert label_entropy(label) == pytest.approx(entropy, rel=1e-15)
    assert math.copysign(1, label_entropy(label)) == 1


def test_label_entropy_is_the_loss_of_the_best_constant() -> None:
    label = np.arange(100) < 30
    best = binary_cross_entropy(label, np.full(100, math.log(30 / 70)))
    assert label_entropy(label) == pytest.approx(best, rel=1e-14)


def test_chance_bound_is_three_standard_errors_of_random_scores() -> None:
    assert chance_auc_bound([0, 1] * 50) == pytest.approx(0.5 + 3 * math.sqrt(101 / 30_000))
    rng = np.random.default_rng(0)
    label = np.arange(200) < 50
    aucs = [roc_auc(label, rng.random(200)) for _ in range(2000)]
    assert chance_auc_bound(label) - 0.5 == pytest.approx(3 * np.std(aucs), rel=0.05)
    with pytest.raises(MetricError, match="all 3 labels are 1"):
        chance_auc_bound([1, 1, 1])


# --- Crossing ---


def test_crossing_is_interpolated_within_its_interval() -> None:
    # (Eighths, so that the arithmetic is exact.)
    found = crossing([0, 100, 200, 300], [0.5, 0.625, 0.875, 0.9], 0.8125)
    assert found == Crossing((100, 200), 175.0)


def test_an_unconfirmed_hit_does_not_count() -> None:
    auc = [0.5, 0.8, 0.7, 0.75, 0.8, 0.9]
    found = crossing([0, 10, 20, 30, 40, 50], auc, 0.8)
    assert found == Crossing((30, 40), 40.0)  # equal to the target is a hit


@pytest.mark.parametrize(
    "auc",
    [[0.5, 0.6, 0.7], [0.5, 0.6, 0.8], [0.8, 0.6, 0.8], [0.8, math.nan, 0.8], [0.8, None, 0.8]],
)
def test_a_target_that_is_not_confirmed_is_not_reached(auc: list[float | None]) -> None:
    assert crossing([0, 10, 20], auc, 0.75) is None


@pytest.mark.parametrize(("samples", "auc"), [([], []), ([0], [0.9])])
def test_too_few_evaluations(samples: list[int], auc: list[float]) -> None:
    assert crossing(samples, auc, 0.8) is None


def test_a_hit_at_the_first_evaluation() -> None:
    # What came before it is not known, so its interval begins at 0.
    assert crossing([64, 128], [0.9, 0.9], 0.8) == Crossing((0, 64), 64.0)
    assert crossing([0, 128], [0.9, 0.9], 0.8) == Crossing((0, 0), 0.0)


def test_the_last_hit_of_a_training_that_ended_itself() -> None:
    auc = [0.5, 0.75, 0.7, 0.9]
    assert crossing([0, 10, 20, 30], auc, 0.75) is None
    assert crossing([0, 10, 20, 30], auc, 0.8, ended_itself=True) == Crossing((20, 30), 25.0)
    # A hit that the next evaluation does not confirm counts no more than in other trainings.
    assert crossing([0, 10, 20], auc[:3], 0.75, ended_itself=True) is None
    assert crossing([64], [0.9], 0.8, ended_itself=True) == Crossing((0, 64), 64.0)
    assert crossing([], [], 0.8, ended_itself=True) is None


@pytest.mark.parametrize("miss", [None, math.nan])
def test_a_miss_without_auc_cannot_be_interpolated(miss: float | None) -> None:
    assert crossing([0, 10, 20], [miss, 0.9, 0.9], 0.8) == Crossing((0, 10), 10.0)


@given(st.lists(st.none() | st.floats(0, 1), max_size=30), st.floats(0.5, 1))
@example([0.15240921245114228, 0.5, 1.0], 0.5)  # once rounded to just beyond its interval
def test_a_crossing_lies_in_its_interval(auc: list[float | None], target: float) -> None:
    samples = [7 * i for i in range(len(auc))]
    found = crossing(samples, auc, target)
    hits = [value is not None and value >= target for value in auc]
    confirmed = [i for i in range(len(hits) - 1) if hits[i] and hits[i + 1]]
    if not confirmed:
        assert found is None
        return
    assert found is not None
    low, high = found.interval
    assert high == samples[confirmed[0]]
    assert low == samples[max(confirmed[0] - 1, 0)]
    assert low <= found.samples <= high


def test_rejected_curves() -> None:
    with pytest.raises(MetricError, match="2 sample counts and 1 values"):
        crossing([0, 1], [0.5], 0.8)
    with pytest.raises(MetricError, match="must increase, but 10 follows 10"):
        crossing([0, 10, 10], [0.5, 0.6, 0.7], 0.8)
