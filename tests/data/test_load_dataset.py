from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bsscale.data import Dataset, Samples, Schema, load_dataset
from bsscale.data.checks import check_dataset
from bsscale.errors import DataError, MetricError

SMALL = {"validation_samples": 200, "test_samples": 200, "cardinality": 10}


def broken() -> Dataset:
    raise RuntimeError("no disk today\nreally")


def refused() -> Dataset:
    raise MetricError("a fact", "a remedy")


def echo(names: Any) -> Dataset:
    raise DataError(f"got {type(names).__name__}")


def test_loads_what_the_target_names() -> None:
    dataset = load_dataset(
        {"name": "synthetic", "_target_": "bsscale.data.synthetic.load", "seed": 3, **SMALL}
    )
    assert len(dataset.validation) == 200
    assert dataset.schema.cardinalities[0] == 11


def target(name: str) -> str:
    return f"{__name__}.{name}"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"name": "mine"}, ["'mine'", "_target_"]),
        ({"_target_": "no_such_module.load"}, ["no_such_module", "PYTHONPATH"]),
        ({"_target_": "bsscale.data.flights.lod"}, ["bsscale.data.flights.lod"]),
        (
            {"_target_": "bsscale.data.flights.load", "splitt": "time"},
            ["'splitt'", "its options are: split, split_seed"],
        ),
        ({"_target_": "bsscale.data.table.load"}, ["'path'", "'label'"]),
        ({"_target_": "builtins.dict", "a": 1}, ["builtins.dict", "gave a dict"]),
        ({"_target_": target("broken")}, ["RuntimeError: no disk today really"]),
        ({"_target_": target("echo"), "names": ["a"]}, ["got list"]),
    ],
)
def test_errors_are_short_and_name_the_cause(config: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(config)
    for word in words:
        assert word in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert str(caught.value).isascii()


def test_our_own_errors_surface_as_themselves() -> None:
    with pytest.raises(MetricError) as caught:
        load_dataset({"_target_": target("refused")})
    assert (caught.value.fact, caught.value.remedy) == ("a fact", "a remedy")


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, bsscale.data, bsscale.data.flights, bsscale.data.table, "
        "bsscale.data.synthetic; "
        "heavy = {'polars', 'sklearn', 'scipy', 'torch', 'hydra', 'wandb', 'pandas'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


class EndlessIds:
    """A stream of the user's whose ids are too high."""

    samples_per_pass = 10_000

    def read(self, seed: int, start: int, stop: int) -> Samples:
        return samples(stop - start, highest=9)


def samples(rows: int = 20, highest: int = 3, **changes: Any) -> Samples:
    ids = np.zeros((rows, 2), np.int32)
    ids[-1, 1] = highest
    given = {"categorical": ids, "numeric": np.zeros((rows, 1), np.float32), **changes}
    return Samples(label=np.zeros(rows, np.float32), **given)


def given(split: str = "", **changes: Any) -> Dataset:
    """Right arrays, less one."""
    splits: dict[str, Any] = {each: samples() for each in ("train", "validation", "test")}
    if split == "stream":
        splits["train"] = EndlessIds()
    elif split:
        splits[split] = samples(**changes)
    schema = Schema(("site", "device"), (1, 4), ("age",))
    if split == "stream":
        return Dataset(schema, **splits)
    return Dataset.from_arrays(schema, **splits)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"split": "train", "highest": 4}, ["device", "id 4 in train", "cardinality is 4"]),
        ({"split": "validation", "highest": 4}, ["id 4 in validation"]),
        ({"split": "test", "highest": -1}, ["id -1 in test", "no negative ids"]),
        ({"split": "stream"}, ["id 9 in train"]),
        (
            {"split": "train", "categorical": np.zeros((20, 2), np.int64)},
            ["int64, not int32", "astype(np.int32)"],
        ),
        (
            {"split": "test", "categorical": np.zeros((20, 3), np.int32)},
            ["test.categorical has shape (20, 3)", "2 categorical fields", "(20, 2) here"],
        ),
        (
            {"split": "train", "numeric": np.zeros(20, np.float32)},
            ["train.numeric has shape (20,)", "(20, 1) here"],
        ),
    ],
)
def test_arrays_that_do_not_fit_their_schema_are_refused(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], words: list[str]
) -> None:
    dataset = given(**arguments)
    monkeypatch.setitem(globals(), "made", lambda: dataset)
    with pytest.raises(DataError) as caught:
        load_dataset({"_target_": target("made")})
    for word in words:
        assert word in str(caught.value)


def test_ids_of_large_arrays_are_looked_at_to_the_end() -> None:
    rows = 3 * 65_536 + 1
    dataset = Dataset.from_arrays(
        Schema(("site", "device"), (1, 4), ("age",)), samples(rows, highest=4), samples(), samples()
    )
    with pytest.raises(DataError, match="id 4 in train"):
        check_dataset(dataset)
