from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bsscale.data import Dataset, load_dataset
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
