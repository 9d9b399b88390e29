from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

from bsscale.data import Dataset, Samples, synthetic
from bsscale.errors import DataError
from bsscale.objectives.binary import roc_auc


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return synthetic.load()


def same(one: Samples, two: Samples) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(two, name))
        for name in ("categorical", "numeric", "label")
    )


@settings(max_examples=50)
@given(
    start=st.integers(0, 2**40),
    cuts=st.lists(st.integers(0, 2000), max_size=6),
    seed=st.integers(0, 9),
)
def test_cuts_do_not_change_the_stream(start: int, cuts: list[int], seed: int) -> None:
    stream = synthetic.load(cardinality=50, validation_samples=100, test_samples=100).train
    edges = [start + cut for cut in [0, *sorted(cuts), 2000]]
    parts = [stream.read(seed, a, b) for a, b in pairwise(edges)]
    joined = Samples(
        np.concatenate([part.categorical for part in parts]),
        np.concatenate([part.numeric for part in parts]),
        np.concatenate([part.label for part in parts]),
    )
    assert same(joined, stream.read(seed, start, start + 2000))


def test_same_seed_same_data(dataset: Dataset) -> None:
    again = synthetic.load()
    assert again.schema == dataset.schema
    assert again.best_possible == dataset.best_possible
    assert same(again.validation, dataset.validation)
    assert same(again.test, dataset.test)
    assert same(again.train.read(4, 1000, 3000), dataset.train.read(4, 1000, 3000))


def test_other_seeds_other_data(dataset: Dataset) -> None:
    other = synthetic.load(seed=1)
    read = dataset.train.read
    assert not same(other.validation, dataset.validation)
    assert not same(other.train.read(0, 0, 500), read(0, 0, 500))
    assert not same(read(0, 0, 500), read(1, 0, 500))
    assert not same(read(0, 0, 500), read(0, 500, 1000))


def test_no_sample_twice(dataset: Dataset) -> None:
    """Neither within a stream, nor in two of them, nor held out and trained on."""
    parts = [dataset.validation.numeric, dataset.test.numeric]
    parts += [dataset.train.read(seed, 0, 50_000).numeric for seed in (0, 1)]
    # One float32 may repeat; a row of four of them does not.
    rows = np.concatenate(parts)
    assert len(np.unique(rows, axis=0)) == len(rows)


@pytest.mark.parametrize("rate", [0.02, 0.2, 0.5, 0.9])
def test_positive_rate(rate: float) -> None:
    label = synthetic.load(positive_rate=rate).train.read(0, 0, 200_000).label
    assert label.mean() == pytest.approx(rate, abs=0.02 * min(rate, 1 - rate) + 0.002)


@pytest.mark.parametrize("exponent", [0.0, 1.1, 2.0])
def test_zipf_shape(exponent: float) -> None:
    dataset = synthetic.load(cardinality=30, zipf_exponent=exponent)
    ids = dataset.train.read(0, 0, 100_000).categorical
    assert dataset.schema.cardinalities == (31,) * 8
    expected = np.arange(1, 31.0) ** -exponent
    for column in ids.T:
        counts = np.bincount(column, minlength=31)
        assert counts[0] == 0
        test = stats.chisquare(counts[1:], expected / expected.sum() * len(column))
        assert test.pvalue > 1e-5
    independent = stats.chi2_contingency(np.histogram2d(ids[:, 0] > 2, ids[:, 1] > 2, bins=2)[0])
    assert independent.pvalue > 1e-5


def test_numbers_are_standard_normal(dataset: Dataset) -> None:
    numbers = dataset.train.read(0, 0, 50_000).numeric
    for column in numbers.T:
        assert stats.kstest(column, "norm").pvalue > 1e-5
    assert np.abs(np.corrcoef(numbers.T) - np.eye(4)).max() < 0.02


def test_fields_and_types() -> None:
    dataset = synthetic.load(categorical_fields=3, cardinality=7, numeric_fields=5)
    assert dataset.schema.categorical == ("c0", "c1", "c2")
    assert dataset.schema.numeric == ("n0", "n1", "n2", "n3", "n4")
    assert dataset.train.samples_per_pass == 400_000
    read = dataset.train.read(0, 10, 21)
    assert read.categorical.shape == (11, 3)
    assert read.numeric.shape == (11, 5)
    assert read.categorical.dtype == np.int32
    assert read.numeric.dtype == read.label.dtype == np.float32
    assert (len(dataset.validation), len(dataset.test)) == (40_000, 40_000)
    assert len(dataset.train.read(0, 64, 64)) == 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"seed": 7},
        {"categorical_fields": 0},
        {"numeric_fields": 0},
        {"numeric_fields": 3},
        {"categorical_fields": 1, "numeric_fields": 0},
        {"categorical_fields": 20, "cardinality": 100},
        {"zipf_exponent": 0.0},
        {"cardinality": 2},
        {"positive_rate": 0.5},
    ],
)
def test_best_possible_is_in_the_useful_range(options: dict[str, Any]) -> None:
    best = synthetic.load(**options).best_possible
    assert best is not None
    assert 0.79 < best < 0.86


def test_a_student_learns_but_does_not_beat_the_teacher(dataset: Dataset) -> None:
    train = dataset.train.read(0, 0, 60_000)
    encoder = OneHotEncoder(handle_unknown="ignore")
    student = LogisticRegression(C=0.3, max_iter=300)
    student.fit(encoder.fit_transform(train.categorical), train.label)
    score = student.decision_function(encoder.transform(dataset.validation.categorical))
    assert dataset.best_possible is not None
    assert 0.65 < roc_auc(dataset.validation.label, score) < dataset.best_possible


def test_the_teacher_is_fixed_across_splits_and_run_seeds(dataset: Dataset) -> None:
    """What one run's stream teaches about the commonest id holds for every other stream."""

    def rate(samples: Samples) -> float:
        return float(samples.label[samples.categorical[:, 0] == 1].mean())

    rates = [rate(dataset.train.read(seed, 0, 40_000)) for seed in (0, 1)]
    rates += [rate(dataset.validation), rate(dataset.test)]
    assert max(rates) - min(rates) < 0.03


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("categorical_fields", -1),
        ("categorical_fields", 101),
        ("categorical_fields", 2.0),
        ("cardinality", 1),
        ("cardinality", 1_000_001),
        ("numeric_fields", -1),
        ("zipf_exponent", -0.1),
        ("zipf_exponent", float("nan")),
        ("positive_rate", 0.0),
        ("positive_rate", 1),
        ("positive_rate", "0.2"),
        ("samples_per_pass", 0),
        ("validation_samples", 99),
        ("test_samples", True),
        ("seed", -1),
    ],
)
def test_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(DataError) as caught:
        synthetic.load(**{name: value})
    assert f"{name} is {value!r}" in caught.value.fact
    assert "give a" in caught.value.remedy


def test_no_field_at_all() -> None:
    with pytest.raises(DataError, match="both 0"):
        synthetic.load(categorical_fields=0, numeric_fields=0)


def test_a_split_without_positives() -> None:
    with pytest.raises(DataError, match=r"(validation|test)_samples is 100.*label 0"):
        synthetic.load(positive_rate=0.001, validation_samples=100, test_samples=100)
