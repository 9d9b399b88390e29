"""Comparisons from records: censored runs count, targets are not mixed, nothing is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import msgspec
import pytest

from bsscale.files.replace import replace_text
from bsscale.records.identity import arm_hash, arm_label
from bsscale.records.run_record import Column, RunRecord, write_run
from bsscale.report.columns import columns_table
from bsscale.report.comparison import Comparison
from bsscale.report.drawing import save
from bsscale.report.summarize import compare
from bsscale.report.tables import arms_table
from tests.test_records import RUN

SEEDS = count()


def run(arm: str, samples: float | None, target: float = 0.76, status: str = "") -> RunRecord:
    made = status or ("exhausted" if samples is None else "reached")
    return msgspec.structs.replace(
        RUN, arm=arm, arm_hash=f"{arm}@{target}", target=target, status=made,
        samples_to_target=samples, seed=next(SEEDS),
        samples_to_target_interval=None if samples is None else (0, int(samples) + 1),
    )  # fmt: skip


def compared(folder: Path, runs: Sequence[RunRecord]) -> Comparison:
    for number, record in enumerate(runs):
        (folder / str(number)).mkdir()
        write_run(folder / str(number), record)
    return compare([folder / str(number) for number in range(len(runs))])


def test_a_censored_run_is_infinite_and_never_left_out(tmp_path: Path) -> None:
    runs = [run("a", 100), run("a", 200), run("a", None), run("b", None), run("b", None)]
    a, b = compared(tmp_path, runs).arms
    assert a.samples_to_target is not None and a.samples_to_target.median == 200
    assert (a.ratio_to_best, b.ratio_to_best) == (1.0, float("inf"))
    rows = compared_rows(tmp_path)
    seen = f"{RUN.samples_seen:,}"
    assert rows[0][4] == f"100 - > {seen}" and rows[1][4] == f"> {seen}"
    assert rows[1][3] == "missed in 2 of 2" and len(rows[1]) == 5


def compared_rows(folder: Path) -> list[list[str]]:
    return [list(row) for row in arms_table(compare(sorted(folder.iterdir()))).rows]


def test_a_diverged_run_counts_as_censored_and_a_failed_one_is_listed(tmp_path: Path) -> None:
    made = compared(tmp_path, [run("a", None, status="diverged"), run("a", None, status="failed")])
    [arm] = made.arms
    assert arm.trained == 1
    assert arm.samples_to_target is not None and arm.samples_to_target.median == float("inf")
    assert [Path(failure.directory).name for failure in made.failed] == ["1"]


def test_arms_with_other_targets_are_not_each_others_yardstick(tmp_path: Path) -> None:
    made = compared(tmp_path, [run("a", 100, 0.7), run("b", 300, 0.8), run("c", 600, 0.8)])
    assert [arm.ratio_to_best for arm in made.arms] == [1.0, 1.0, 2.0]


def test_the_columns_of_the_data_are_named(tmp_path: Path) -> None:
    weight = Column(name="w", role="weight")
    record = msgspec.structs.replace(run("a", 100), columns=(*(RUN.columns or ()), weight))
    rows = columns_table(compared(tmp_path, [record])).rows
    assert [row[:3] for row in rows] == [["site", "categorical", "7"], ["w", "weight", ""]]
    assert "AUC and accuracy do not use it" in rows[1][4]


def test_a_directory_without_a_record_is_listed(tmp_path: Path) -> None:
    made = compare([tmp_path])
    assert not made.arms and "holds no run.json" in made.failed[0].reason


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        ([], "onecycle gpus=8"),
        (["schedule=onecycle", "gpus=8", "seed=3", "tracker=none"], "onecycle gpus=8"),
        (["schedule.cycle_max_lr=1"], "onecycle gpus=8 schedule.cycle_max_lr=1"),
        (["target=0.7", "+model.width=4"], "onecycle gpus=8 target=0.7 +model.width=4"),
    ],
)
def test_the_label_holds_what_sets_an_arm_apart(overrides: list[str], label: str) -> None:
    assert arm_label("onecycle", 8, overrides) == label


def test_the_hash_ignores_seed_and_tracker_and_nothing_else() -> None:
    config = {"seed": 0, "tracker": {"name": "none"}, "gpus": 8, "target": 0.7}
    same = {**config, "seed": 5, "tracker": {"name": "wandb"}}
    assert arm_hash(config) == arm_hash(same)
    assert arm_hash(config) != arm_hash({**config, "target": 0.8})


def test_a_figure_and_a_page_are_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> bytes:
        raise OSError("the disk is full")

    monkeypatch.setattr("vl_convert.svg_to_png", full)
    (tmp_path / "a.png").write_text("whole")
    with pytest.raises(OSError, match="the disk is full"):
        save("<svg></svg>", tmp_path / "a")
    with pytest.raises(UnicodeEncodeError):
        replace_text(tmp_path / "a.png", "half\ud800")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.png", "whole")]
