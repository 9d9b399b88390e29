"""The validation rows that are evaluated during training."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bsscale.data import Dataset, Samples, Schema, criteo, table
from bsscale.data.evaluated import evaluated_rows
from bsscale.errors import DataError
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import read_run
from bsscale.training.result import evaluation_warning
from bsscale.workers.shared import share as shared_dataset
from tests.benchmarks.criteo import generate
from tests.conftest import Finished

Bsscale = Callable[..., Finished]


def test_rows_are_drawn_once_and_have_both_classes() -> None:
    label = np.zeros(1000, np.float32)
    label[7] = 1.0
    rows = evaluated_rows(label, 100)
    assert len(set(rows.tolist())) == 100 and (np.diff(rows) > 0).all()
    assert 7 in rows and label[rows].sum() == 1
    assert rows[:5].tolist() == GOLDEN
    assert (evaluated_rows(1 - label, 100) == rows).all()
    # Numbers have no classes.
    assert len(evaluated_rows(np.arange(1000, dtype=np.float32), 100)) == 100


GOLDEN = [2, 7, 8, 12, 25]


def test_a_data_set_with_other_evaluated_rows_has_another_key() -> None:
    rng = np.random.default_rng(0)
    part = Samples(
        np.zeros((300, 1), np.int32),
        rng.normal(size=(300, 1)).astype(np.float32),
        rng.integers(0, 2, 300).astype(np.float32),
    )
    whole = Dataset.from_arrays(Schema(("a",), (1,), ("x",)), part, part, part)
    some, more, all_ = (replace(whole, validation_rows=rows) for rows in (100, 200, 300))
    assert whole.evaluated is whole.validation and all_.evaluated is all_.validation
    assert [len(each.evaluated) for each in (some, more)] == [100, 200]
    assert len({some.key, more.key, whole.key}) == 3 and all_.key == whole.key
    # Another process draws them again: they take no room in the memory that is shared.
    places = []
    for each in (some, whole):
        shared = shared_dataset(each)
        assert shared is not None
        shared.file.close()
        places.append(shared.places)
    assert places[0] == places[1]
    copied = pickle.loads(pickle.dumps(some))
    assert (copied.evaluated.numeric == some.evaluated.numeric).all() and copied.key == some.key


def test_fewer_rows_than_an_evaluation_needs_are_refused(tmp_path: Path) -> None:
    generate(tmp_path / "train.txt", 300)
    with pytest.raises(DataError, match="validation_rows is 99"):
        criteo.load(str(tmp_path / "train.txt"), validation_rows=99)
    with pytest.raises(DataError, match="validation_rows is 99"):
        table.load(str(tmp_path / "train.txt"), "label", header=False, columns=["a"] * 40,
                   validation_rows=99)  # fmt: skip


def test_a_run_evaluates_some_rows_and_all_at_its_end(bsscale: Bsscale, tmp_path: Path) -> None:
    generate(tmp_path / "train.txt", 4000)
    done = bsscale(
        "dataset=criteo", "dataset.path=train.txt", "dataset.validation_rows=100",
        "dataset.min_count=20", "model=logistic", "micro_batch=32", "base_lr=0.05", "tracker=none",
        "budget_samples=2048", "eval_interval_samples=1024", "hydra.run.dir=run",
    )  # fmt: skip
    assert done.code == 0, done.text
    record, evals = read_run(tmp_path / "run"), read_evals(tmp_path / "run")
    assert record.final_value is not None
    assert record.final_value != evals[-1].metrics["auc"]
    assert record.best_value in [point.metrics["auc"] for point in evals]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["dataset"] == "criteo"
    shown = bsscale(
        "dataset=criteo", "dataset.path=train.txt", "dataset.validation_rows=100", "base_lr=0.1",
        "dry_run=true", "tracker=none",
    )  # fmt: skip
    assert "100 of 400 (all at the end) validation, 400 test" in shown.out
    assert "Numbers are standardized after log1p." in shown.out
    # A warning only for a long run that was mostly evaluated.
    for share, wall_s, warned in ((0.6, 100.0, True), (0.6, 40.0, False), (0.5, 1e4, False)):
        changed = msgspec.structs.replace(record, eval_share=share, wall_s=wall_s)
        assert (evaluation_warning(changed) is not None) == warned
    assert "60% of the time" in (
        evaluation_warning(msgspec.structs.replace(record, eval_share=0.6, wall_s=100.0)) or ""
    )
