"""The columns of a table in the plan and in run.json."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from bsscale.data import ColumnFacts
from bsscale.planning.description import describe_plan
from bsscale.records.run_record import read_run
from tests.conftest import Finished
from tests.helpers import prepare, small_config

Bsscale = Callable[..., Finished]


def test_of_a_run(bsscale: Bsscale, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        f"{i},{rng.integers(9)},{rng.choice(['a', 'b', ''])},{rng.choice(['click', 'none'])}"
        for i in range(400)
    ]
    (tmp_path / "ads[1].csv").write_text("\n".join(["n,price,site,result", *rows]) + "\n")
    (tmp_path / "ads1.csv").write_text("n,price,site,result\n")
    done = bsscale(
        "dataset=table", 'dataset.path="ads[1].csv"', "dataset.label=result",
        "dataset.positive=click", "dataset.nulls=[8]", "model=logistic", "micro_batch=16",
        "base_lr=0.05", "tracker=none", "budget_samples=1024", "eval_interval_samples=512",
        "hydra.run.dir=run",
    )  # fmt: skip
    assert done.code == 0, done.text
    columns = {column.name: column for column in read_run(tmp_path / "run").columns or ()}
    assert [*columns] == ["n", "price", "site", "result"]
    assert [c.role for c in columns.values()] == ["numeric", "numeric", "categorical", "label"]
    assert [c.type for c in columns.values()] == ["integer", "integer", "text", "text"]
    assert columns["n"].note == "row number" and columns["price"].note is None
    assert columns["site"].cardinality == 3
    assert 0.0 < (columns["price"].missing_share or 0.0) < 0.3
    (row,) = [line for line in done.out.splitlines() if line.startswith("      columns")]
    assert row.split()[:4] == ["columns", "n", "numeric", "integer"]
    assert "0.25% missing" in row and row.endswith("<- row number")
    assert "The label is 1 where 'result' is 'click'" in done.out


def test_of_many_columns_those_with_a_note() -> None:
    plan, dataset = prepare(small_config())
    facts = [ColumnFacts(f"c{i}", "numeric", "float") for i in range(59)]
    described = replace(dataset, columns=(*facts, ColumnFacts("id", "unused", "text", note="odd")))
    text = describe_plan(plan, described, "arm")
    assert "columns  59 numeric, 1 unused\n" in text
    assert "<- odd" in text and "c17" not in text
    assert described.key == dataset.key
    noted = [replace(column, note="constant") for column in facts]
    text = describe_plan(plan, replace(dataset, columns=(*noted,)), "arm")
    assert "59 have notes; the first 50:" in text and text.count("<- constant") == 50
    few = describe_plan(plan, replace(dataset, columns=(*facts[:49],)), "arm")
    assert few.count(" numeric ") >= 49
    assert "columns" not in describe_plan(plan, dataset, "arm")
